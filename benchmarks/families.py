"""Backbones of the big families in tiny random form, with the library's own initial weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from ..system.backbone import load_backbone

WIDTH, BLOCKS, HEADS, POSITIONS = 64, 4, 4, 512
FAMILIES = ("opt", "gpt2", "llama", "qwen", "bloom")
"""Learned positions, learned, rotary, rotary, relative (ALiBi)."""


def make(family: str, root: Path, vocabulary: int | None = None) -> Path:
    """A model's folder under the root, with the default backbone's tokenizer; random weights from a fixed seed."""
    tokenizer = load_backbone("sidelight-tiny").tokenizer
    torch.manual_seed(0)
    model = _model(family, vocabulary or len(tokenizer))
    model.save_pretrained(root / family)
    tokenizer.save_pretrained(root / family)
    return root / family


def _model(family: str, vocabulary: int) -> Any:
    named: dict[str, Any] = {"vocab_size": vocabulary, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    rotary: dict[str, Any] = {
        "hidden_size": WIDTH,
        "intermediate_size": 3 * WIDTH,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "max_position_embeddings": POSITIONS,
    }
    if family == "opt":
        learned: dict[str, Any] = {
            "word_embed_proj_dim": WIDTH,
            "ffn_dim": 4 * WIDTH,
            "max_position_embeddings": POSITIONS,
        }
        config = OPTConfig(hidden_size=WIDTH, num_hidden_layers=BLOCKS, num_attention_heads=HEADS, **learned, **named)
        return OPTForCausalLM(config)
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=WIDTH, n_layer=BLOCKS, n_head=HEADS, n_positions=POSITIONS, **named))
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**rotary, **named))
    if family == "qwen":
        return Qwen2ForCausalLM(Qwen2Config(**rotary, **named))
    return BloomForCausalLM(BloomConfig(hidden_size=WIDTH, n_layer=BLOCKS, n_head=HEADS, **named))
