"""Which words of an original a guess recovered, and which of them are personal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple


class Piece(NamedTuple):
    """A stretch of words of one kind."""

    text: str
    shared: bool | None
    """Whether all of them are in the other text, in the same order; None between stretches."""
    personal: bool = False
    """Whether they belong to a marked span: a name, an amount, a secret."""


class Compared(NamedTuple):
    """An original and a guess cut into pieces."""

    original: tuple[Piece, ...]
    guess: tuple[Piece, ...]
    personal: int
    """Marked spans of the original."""
    recovered: int
    """Those whose whole text stands in the guess."""


def compared(original: str, guess: str, spans: Sequence[str] = ()) -> Compared:
    """Both texts with the words marked that they share in order (longest matching blocks of whole words)."""
    a, b = original.split(), guess.split()
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    in_a = {block.a + i for block in blocks for i in range(block.size)}
    in_b = {block.b + i for block in blocks for i in range(block.size)}
    known = [span for span in spans if span]
    return Compared(
        _pieces(original, in_a, known),
        _pieces(guess, in_b, known),
        len(known),
        sum(_found(span, guess) for span in known),
    )


def _whole(span: str) -> str:
    """A pattern of the span that stands within no longer word."""
    return rf"(?<!\w){re.escape(span)}(?!\w)"


def _found(span: str, text: str) -> bool:
    return re.search(_whole(span), text) is not None


def _pieces(text: str, shared: set[int], spans: Sequence[str]) -> tuple[Piece, ...]:
    """The text cut where words of another kind begin; the white space there belongs to neither."""
    personal = [(found.start(), found.end()) for span in spans for found in re.finditer(_whole(span), text)]
    pieces: list[Piece] = []
    for index, word in enumerate(re.finditer(r"(\s*)(\S+)", text)):
        before, letters = word.groups()
        kind = index in shared, any(start < word.end() and word.start(2) < end for start, end in personal)
        if pieces and (pieces[-1].shared, pieces[-1].personal) == kind:
            pieces[-1] = Piece(pieces[-1].text + before + letters, *kind)
        else:
            pieces += [Piece(before, None)] * bool(before) + [Piece(letters, *kind)]
    return tuple(pieces)
