"""Perplexity of a backbone on a text file: the figure in a model card.

    python -m sidelight.system.tiny.perplexity --backbone sidelight-tiny --text WIKITEXT_TEST_FILE

Every paragraph is read on its own behind the opening token, cut to the context. The figure is stated per token, which
depends on the vocabulary, and per word, which does not (white-space words of the file as it is).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

from ..backbone import Backbone, load_backbone
from .corpus import detokenised

CHUNK = 16


class Perplexity(NamedTuple):
    """Two readings of one total."""

    token: float
    word: float


@torch.no_grad()
def perplexity(backbone: Backbone, paragraphs: list[str], longest: int) -> Perplexity:
    """exp of the mean negative log-likelihood per token, and of the same total per word."""
    total, tokens, words = 0.0, 0, 0
    ordered = sorted((detokenised(p) for p in paragraphs), key=len)
    for start in range(0, len(ordered), CHUNK):
        chunk = ordered[start : start + CHUNK]
        ids, mask = backbone.tokens(chunk, longest)
        logits = backbone.model(input_ids=ids, attention_mask=mask).logits
        targets = torch.where(mask.bool(), ids, -100)[:, 1:]
        total += cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), reduction="sum").item()
        tokens += int((targets >= 0).sum())
        words += sum(len(backbone.tokenizer.decode(backbone.token_ids(text, longest)).split()) for text in chunk)
    return Perplexity(math.exp(total / tokens), math.exp(total / words))


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="sidelight-tiny")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--longest", type=int, default=127, help="tokens of a paragraph that are read")
    arguments = parser.parse_args()
    lines = (line.strip() for line in arguments.text.read_text(encoding="utf-8").splitlines())
    found = perplexity(
        load_backbone(arguments.backbone),
        [line for line in lines if line and not line.startswith("=")],
        arguments.longest,
    )
    print(f"{found.token:.1f} a token, {found.word:.1f} a word")


if __name__ == "__main__":
    main()
