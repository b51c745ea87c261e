"""Texts that an attacker makes to learn from: whoever knows the backbone may compute the states of as many as it likes.

They come from auxiliary texts and from the public backbone: auxiliary texts as they are, two of them cut and joined,
windows of all of them end to end, and what the backbone writes behind the beginning of one. In a share of the texts,
tokens are replaced and exchanged, so that what a text says cannot be told from its kind alone.

Shapes: B texts, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

from ...system.backbone import Backbone
from ...system.public import Public

OF_BACKBONE, WINDOWS, AS_THEY_ARE = 0.25, 0.35, 0.55
"""Shares, each with those before it, of the backbone's texts, of windows, and of auxiliary texts; others are joined."""
ALIKE = 0.5
"""Share of joined texts that have one label."""
WRITTEN = 512
"""Texts of the backbone's that are kept at a time."""
RENEWED = 0.06
"""Share of draws before which some of them are renewed."""
OPENED = 4
"""Tokens at most of the auxiliary text behind which the backbone writes on."""
CHANGED = (0.0, 0.0, 0.1, 0.3)
"""Shares of a text's tokens that are replaced, one of which is drawn for each text."""
ANY = 0.5
"""Share of replacements that are drawn from the whole vocabulary; the others are auxiliary tokens."""
ANY_LENGTH = 0.02
"""Share of lengths that do not follow those of auxiliary texts."""
EXCHANGED = 0.15
"""Share of texts in which two parts change places."""


Text = tuple[int, ...]


class MadeTexts:
    """Draws texts of 1 to `longest` tokens, new ones every time."""

    def __init__(self, backbone: Backbone, public: Public) -> None:
        self._backbone, self._longest = backbone, int(public.facts["longest"])
        self._of_label: dict[str, list[Text]] = {}
        for example in public.auxiliary:
            if tokens := tuple(backbone.token_ids(example.text, self._longest)):
                self._of_label.setdefault(example.label, []).append(tokens)
        self._known = [(text, label) for label, texts in self._of_label.items() for text in texts]
        self._stream = [token for text, _ in self._known for token in text]
        self._written: list[Text] = []

    def draw(self, count: int, generator: torch.Generator) -> list[Text]:
        """So many texts; all of their randomness comes from the generator."""
        chance = random.Random(int(torch.randint(2**62, (), generator=generator)))
        if not self._written or chance.random() < RENEWED:
            self._write(chance, generator)
        return [self._one(chance) for _ in range(count)]

    def _one(self, chance: random.Random) -> Text:
        tokens = self._whole(chance)
        if chance.random() < EXCHANGED:
            cut = chance.randrange(len(tokens))
            tokens = tokens[cut:] + tokens[:cut]
        share = chance.choice(CHANGED)
        changed = [self._other(chance) if chance.random() < share else token for token in tokens]
        return tuple(changed[: self._longest])

    def _whole(self, chance: random.Random) -> Text:
        way = chance.random()
        if not self._known or way < OF_BACKBONE:
            return chance.choice(self._written)[: self._length(chance)]
        if way < WINDOWS:
            start = chance.randrange(len(self._stream))
            return tuple(self._stream[start : start + self._length(chance)])
        text, label = chance.choice(self._known)
        if way < AS_THEY_ARE:
            return text
        alike = chance.random() < ALIKE
        other = chance.choice(self._of_label[label]) if alike else chance.choice(self._known)[0]
        return text[: chance.randint(1, len(text))] + other[chance.randrange(len(other)) :]

    def _length(self, chance: random.Random) -> int:
        """About as long as auxiliary texts are; any length without such texts, and sometimes beside them."""
        if not self._known or chance.random() < ANY_LENGTH:
            return chance.randint(1, self._longest)
        return min(max(len(chance.choice(self._known)[0]) + chance.randint(-2, 2), 1), self._longest)

    def _other(self, chance: random.Random) -> int:
        if not self._stream or chance.random() < ANY:
            return chance.randrange(self._backbone.vocabulary)
        return chance.choice(self._stream)

    def _write(self, chance: random.Random, generator: torch.Generator) -> None:
        """Put new texts of the backbone's in the place of old ones."""
        for _ in range(1 if self._written else OPENED + 1):
            size = min(chance.randint(0, OPENED), self._longest - 1)
            long = [text[:size] for text, _ in self._known if len(text) >= size]
            starts = [chance.choice(long) if long else () for _ in range(WRITTEN // (OPENED + 1))]
            longest = max(self._length(chance) for _ in starts)
            self._written += map(tuple, written(self._backbone, starts, max(longest, size + 1), generator))
        chance.shuffle(self._written)
        del self._written[WRITTEN:]


@torch.no_grad()
def written(
    backbone: Backbone, starts: Sequence[Sequence[int]], longest: int, generator: torch.Generator
) -> list[list[int]]:
    """What the backbone writes behind starts of one length, up to `longest` tokens; special tokens are never drawn."""
    device = backbone.model.device
    opening = backbone.prefix or ([] if starts[0] else [0])
    rows = torch.tensor([[*opening, *start] for start in starts])
    special = torch.tensor(sorted({*backbone.tokenizer.all_special_ids, *backbone.prefix}), dtype=torch.int64)
    cache: Any = None
    found = rows
    for _ in range(longest - len(starts[0])):
        if backbone.causal:
            output = backbone.model(input_ids=rows.to(device), past_key_values=cache, use_cache=True)
            cache, logits = output.past_key_values, output.logits[:, -1]
        else:
            logits = backbone.next_logits(found.to(device))
        chances = logits.float().softmax(1).cpu()
        chances[:, special] = 0.0
        rows = torch.multinomial(chances, 1, generator=generator)
        found = torch.cat([found, rows], 1)
    return found[:, len(opening) :].tolist()
