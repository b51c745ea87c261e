"""Backbones of the common families with a few thousand random weights, made from the library's own configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen2Config,
    RobertaConfig,
)

from sidelight.system.backbone import Backbone, load_backbone

from .micro import SPREAD, make_tokenizer

BLOCKS, WIDTH, HEADS, WIDE, POSITIONS = 3, 32, 4, 48, 64
ROTARY = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDE,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS // 2,
    "max_position_embeddings": POSITIONS,
    "initializer_range": SPREAD,
}
ENCODER = {key: value for key, value in ROTARY.items() if key != "num_key_value_heads"}
DECODERS: Mapping[str, tuple[type[PreTrainedConfig], Mapping[str, Any]]] = {
    "opt": (
        OPTConfig,
        {
            "hidden_size": WIDTH,
            "word_embed_proj_dim": WIDTH,
            "ffn_dim": WIDE,
            "num_hidden_layers": BLOCKS,
            "num_attention_heads": HEADS,
            "max_position_embeddings": POSITIONS,
            "init_std": SPREAD,
        },
    ),
    "gpt2": (
        GPT2Config,
        {
            "n_embd": WIDTH,
            "n_inner": WIDE,
            "n_layer": BLOCKS,
            "n_head": HEADS,
            "n_positions": POSITIONS,
            "initializer_range": SPREAD,
        },
    ),
    "llama": (LlamaConfig, ROTARY),
    "qwen2": (Qwen2Config, ROTARY),
    "mistral": (MistralConfig, ROTARY),
}
ENCODERS: Mapping[str, tuple[type[PreTrainedConfig], Mapping[str, Any]]] = {
    "bert": (BertConfig, ENCODER),
    # it numbers positions from behind that of padding
    "roberta": (RobertaConfig, {**ENCODER, "max_position_embeddings": POSITIONS + 2}),
    "distilbert": (
        DistilBertConfig,
        {
            "dim": WIDTH,
            "hidden_dim": WIDE,
            "n_layers": BLOCKS,
            "n_heads": HEADS,
            "max_position_embeddings": POSITIONS,
            "initializer_range": SPREAD,
        },
    ),
}
NARROW: Mapping[str, tuple[type[PreTrainedConfig], Mapping[str, Any]]] = {
    "electra": (ElectraConfig, {**ENCODER, "embedding_size": 16})
}
"""Its output matrix is narrower than its states."""
FAMILIES = {**DECODERS, **ENCODERS}


def save_family(family: str, folder: Path) -> Path:
    """A family's backbone in a folder, as transformers' save_pretrained writes it: the same for every call."""
    encoder = family in ENCODERS or family in NARROW
    tokenizer = make_tokenizer(opening=encoder or family == "opt", closing=encoder)
    config, sizes = {**FAMILIES, **NARROW}[family]
    named: Any = {"vocab_size": len(tokenizer), "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    kind: Any = AutoModelForMaskedLM if encoder else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        kind.from_config(config(**sizes, **named)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_family(family: str, root: Path) -> Backbone:
    """A family's backbone, from a folder under the root."""
    folder = root / family
    return load_backbone(str(folder if folder.exists() else save_family(family, folder)))
