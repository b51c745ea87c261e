"""Adapters that somebody else tuned with peft, on a micro backbone and rows of their own: made in a few steps."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from sidelight.system.data import Sample

from .micro import LABELS, VICTIM, make_micro

FORM = "{text} topic: {label}"
TARGETS = {
    "opt": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}


@cache
def base(family: str) -> Path:
    """A micro backbone's folder: the same weights as in any other folder of it."""
    kept = tempfile.TemporaryDirectory(prefix="sidelight-adapters-")
    atexit.register(kept.cleanup)
    return make_micro(Path(kept.name)).folders[family]


@cache
def adapter(task: str, family: str = "opt", rows: tuple[Sample, ...] = VICTIM, epochs: int = 60) -> Path:
    """The folder of an adapter that was tuned on rows until it knows them by heart."""
    out = base(family).parent / f"{family}-{task}-{len(rows)}-{epochs}-{abs(hash(rows))}"
    tuned(task, family, rows, epochs).save_pretrained(out, safe_serialization=True)
    return out


def fresh(task: str, family: str, **settings: Any) -> Any:
    """A backbone with an adapter that nobody tuned yet."""
    chosen = {"r": 8, "lora_alpha": 16, "target_modules": TARGETS[family], "task_type": task, **settings}
    if task == "CAUSAL_LM":
        model = AutoModelForCausalLM.from_pretrained(base(family))
    else:
        model = AutoModelForSequenceClassification.from_pretrained(base(family), num_labels=len(LABELS))
    return get_peft_model(model, LoraConfig(**chosen))


def tuned(task: str, family: str, rows: Sequence[Sample], epochs: int) -> Any:
    """As a user tunes: transformers' own tokenizer, padding and loss."""
    tokenizer = AutoTokenizer.from_pretrained(base(family))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = fresh(task, family)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
        for _ in range(epochs):
            for at in range(0, len(rows), 16):
                optimizer.zero_grad()
                _loss(model, tokenizer, task, rows[at : at + 16]).backward()
                optimizer.step()
    return model


def _loss(model: Any, tokenizer: Any, task: str, rows: Sequence[Sample]) -> Any:
    texts = [FORM.format(text=row.text, label=row.label) if task == "CAUSAL_LM" else row.text for row in rows]
    asked = tokenizer(texts, padding=True, return_tensors="pt")
    given = {"input_ids": asked["input_ids"], "attention_mask": asked["attention_mask"]}
    if task == "CAUSAL_LM":
        labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)
        return model(**given, labels=labels).loss
    return cross_entropy(model(**given).logits, torch.tensor([LABELS.index(row.label) for row in rows]))
