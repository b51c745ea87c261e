"""Which words of an original a guess recovered."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple


class Piece(NamedTuple):
    """A stretch of words that are all in the other text, in the same order, or all not; None between stretches."""

    text: str
    shared: bool | None


class Compared(NamedTuple):
    """An original and a guess cut into pieces."""

    original: tuple[Piece, ...]
    guess: tuple[Piece, ...]


def compared(original: str, guess: str) -> Compared:
    """Both texts with the words marked that they share in order (longest matching blocks of whole words)."""
    a, b = original.split(), guess.split()
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    in_a = {block.a + i for block in blocks for i in range(block.size)}
    in_b = {block.b + i for block in blocks for i in range(block.size)}
    return Compared(_pieces(original, in_a), _pieces(guess, in_b))


def _pieces(text: str, shared: set[int]) -> tuple[Piece, ...]:
    """The text cut where shared and other words meet; the white space there belongs to neither."""
    pieces: list[Piece] = []
    for index, word in enumerate(re.finditer(r"(\s*)(\S+)", text)):
        before, letters = word.groups()
        if pieces and pieces[-1].shared == (index in shared):
            pieces[-1] = Piece(pieces[-1].text + before + letters, pieces[-1].shared)
        else:
            pieces += [Piece(before, None)] * bool(before) + [Piece(letters, index in shared)]
    return tuple(pieces)
