"""The pretraining corpus of `sidelight-tiny`: which texts it may see, and how they become token rows.

Three sources: the WikiText-2 file, the queries of one half of CLINC150's intents, and sampled stories.
The other half of CLINC150, Banking77, the SMS collection and `messages` are never read here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BEGIN, PAD, END = "<s>", "<pad>", "</s>"
TOPIC_PROMPT = " topic:"
"""Follows a query in half of its appearances, before the intent's name: a backbone that has seen a
question about its text answers one at the prompt's last token, which is where a pivot is read."""

CONTENT_WORDS = 4
"""Most content words that follow the prompt after a snippet."""
SHORTEST_CONTENT_WORD = 3

CLINC_FILES = ("train.jsonl", "dev.jsonl", "test.jsonl")
WIKITEXT_FILE = "train.txt"


class Query(NamedTuple):
    """A text with the words of its intent's name."""

    text: str
    intent: str


def trained_intents(intents: set[str]) -> list[str]:
    """The half of CLINC150's intents that pretraining may see: those whose name hashes to the lower half."""
    named = sorted(intents - {"oos"}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return sorted(named[: len(named) // 2])


def read_queries(folder: Path) -> list[Query]:
    """The queries of the trained half of CLINC150, from all three of its files."""
    rows = [json.loads(line) for name in CLINC_FILES for line in (folder / name).open(encoding="utf-8")]
    kept = set(trained_intents({row["label"] for row in rows}))
    return [Query(row["text"], row["label"].replace("_", " ")) for row in rows if row["label"] in kept]


def read_wikitext(folder: Path) -> list[str]:
    """WikiText-2 paragraphs, with the spaces that its tokenisation put around punctuation taken out again."""
    lines = (folder / WIKITEXT_FILE).read_text(encoding="utf-8").splitlines()
    return [detokenised(line.strip()) for line in lines if line.strip() and not line.strip().startswith("=")]


def detokenised(text: str) -> str:
    for mark in ("@-@", "@,@", "@.@"):
        text = text.replace(f" {mark} ", mark[1])
    for mark in (".", ",", ";", ":", "!", "?", ")", "'s", "n't"):
        text = text.replace(f" {mark}", mark)
    return text.replace("( ", "(")


def train_tokenizer(texts: list[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE: no text is ever out of vocabulary, so every text can be asked back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BEGIN, PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    begin = (BEGIN, tokenizer.token_to_id(BEGIN))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[begin])
    return tokenizer


def packed(tokenizer: Tokenizer, texts: list[str], length: int) -> torch.Tensor:
    """All texts end to end, each opened by BEGIN and closed by END, cut into rows: (rows, length) int64."""
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    stream = [
        token for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False) for token in (begin, *e.ids, end)
    ]
    rows = len(stream) // length
    return torch.tensor(stream[: rows * length]).view(rows, length)


def query_rows(tokenizer: Tokenizer, queries: list[Query], length: int) -> torch.Tensor:
    """One query a row, plain and with its topic: (2 * queries, length) int64, padded on the right."""
    begin, end, pad = (int(tokenizer.token_to_id(t) or 0) for t in (BEGIN, END, PAD))
    prompt = tokenizer.encode(TOPIC_PROMPT, add_special_tokens=False).ids
    rows = torch.full((2 * len(queries), length), pad)
    for i, query in enumerate(queries):
        text = tokenizer.encode(query.text, add_special_tokens=False).ids
        topic = tokenizer.encode(" " + query.intent, add_special_tokens=False).ids
        for row, ids in ((2 * i, [begin, *text, end]), (2 * i + 1, [begin, *text, *prompt, *topic, end])):
            kept = ids[:length]
            rows[row, : len(kept)] = torch.tensor(kept)
    return rows


def snippets(texts: list[str], sentences: int) -> list[str]:
    """Texts cut into runs of a few sentences."""
    cut = []
    for text in texts:
        parts = [part.strip() for part in text.split(". ") if part.strip()]
        cut += [". ".join(parts[i : i + sentences]) for i in range(0, len(parts), sentences)]
    return cut


def content_words(text: str) -> list[str]:
    """A text's words that say what it is about, each once."""
    words = "".join(c if c.isalpha() else " " for c in text.lower()).split()
    kept = (w for w in words if len(w) >= SHORTEST_CONTENT_WORD and w not in ENGLISH_STOP_WORDS)
    return list(dict.fromkeys(kept))


def keyword_rows(tokenizer: Tokenizer, texts: list[str], length: int, generator: torch.Generator) -> torch.Tensor:
    """A text, the prompt, then some of its content words in random order: (texts, length) int64, padded on the right.

    In random order, so that the best guess at the prompt's last token is all of them at once: what the text is about.
    """
    begin, end, pad = (int(tokenizer.token_to_id(t) or 0) for t in (BEGIN, END, PAD))
    prompt = tokenizer.encode(TOPIC_PROMPT, add_special_tokens=False).ids
    rows = []
    for text in texts:
        words = content_words(text)
        order = torch.randperm(len(words), generator=generator)[:CONTENT_WORDS].tolist()
        topic = tokenizer.encode("".join(" " + words[i] for i in order), add_special_tokens=False).ids
        ids = [begin, *tokenizer.encode(text, add_special_tokens=False).ids, *prompt, *topic, end]
        if topic and len(ids) <= length:
            rows.append(torch.tensor(ids + [pad] * (length - len(ids))))
    return torch.stack(rows)


def after_prompt(tokenizer: Tokenizer, rows: torch.Tensor) -> torch.Tensor:
    """Rows with everything up to the prompt replaced by padding: what a loss on the answer alone counts."""
    pad = int(tokenizer.token_to_id(PAD) or 0)
    last = tokenizer.encode(TOPIC_PROMPT, add_special_tokens=False).ids[-1]
    where = (rows == last).long().cumsum(1)
    seen = where == where.max(1, keepdim=True).values
    first = seen & (rows == last)
    return torch.where(seen & ~first & (where > 0), rows, pad)
