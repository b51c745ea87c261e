"""Data and models that benchmarks run on: the same for every protocol that is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, OPTConfig, OPTForCausalLM
from transformers.utils import logging

from ..system.backbone import TINY, Backbone, local_folder
from ..system.data import Sample, Sizes, Split, load, split
from ..system.randomness import Streams
from .finding import Bench

OPT_125M: Mapping[str, Any] = {
    "vocab_size": 50272, "hidden_size": 768, "word_embed_proj_dim": 768, "ffn_dim": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "max_position_embeddings": 2048,
}  # fmt: skip
"""Sizes of the smallest model that the papers use (OPT, arXiv 2205.01068, table 1)."""


def rows(bench: Bench, train: int, test: int, generated: int = 6000, most_labels: int = 20, aside: int = 0) -> Split:
    """Training and test rows of a benchmark's data.

    `aside`: test rows in the fourth part, of which no near-duplicate is among the others.
    """
    streams = Streams(bench.seed)
    data = load(bench.data, streams.numpy("data"), most_labels, generated)
    return split(data, Sizes(train, test, 0, aside), streams.numpy("split"))


def joined(parts: Split, backbone: Backbone, tokens: int) -> Split:
    """Longer texts: rows of one class and part end to end, until each has so many tokens; leftovers are dropped."""

    def longer(samples: Sequence[Sample]) -> tuple[Sample, ...]:
        return tuple(text for label in parts.labels for text in _runs(samples, label, backbone, tokens))

    return replace(parts, victim_train=longer(parts.victim_train), victim_test=longer(parts.victim_test))


def _runs(samples: Sequence[Sample], label: str, backbone: Backbone, tokens: int) -> Iterator[Sample]:
    text = ""
    for sample in (one for one in samples if one.label == label):
        text = f"{text} {sample.text}".strip()
        if len(backbone.token_ids(text)) >= tokens:
            yield replace(sample, text=text, spans=())
            text = ""


def random_opt(folder: Path, seed: int = 0) -> str:
    """A folder with a model of OPT-125M's sizes and random weights: memory does not depend on what they are."""
    torch.manual_seed(seed)
    logging.disable_progress_bar()
    OPTForCausalLM(OPTConfig(**OPT_125M)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(local_folder(TINY)).save_pretrained(folder)
    return str(folder)
