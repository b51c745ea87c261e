"""Where a text of language modelling ends, and the words of its class begin: behind the last place of the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ....system.backbone import Backbone
from ..states import WORDS


class Parted(NamedTuple):
    """What was one text."""

    text: tuple[int, ...]
    words: tuple[int, ...]
    """Behind the prompt; none where nothing follows a text, or the prompt is not found."""


def parted(tokens: Sequence[int], backbone: Backbone, facts: Mapping[str, Any]) -> Parted:
    """A sample's tokens without the prompt; the text is no longer than a device uses."""
    longest = int(facts.get("longest", len(tokens)))
    if facts.get("completion") != WORDS:
        return Parted(tuple(tokens[:longest]), ())
    prompt = backbone.token_ids(facts["question"])
    for at in range(min(longest, len(tokens) - len(prompt)), -1, -1):
        if list(tokens[at : at + len(prompt)]) == prompt:
            return Parted(tuple(tokens[:at]), tuple(tokens[at + len(prompt) :]))
    return Parted(tuple(tokens[:longest]), ())
