"""Updates: what each device sent to be averaged, what it had begun from, and which inputs of its maps that shows.

Shapes: V vocabulary, B texts, T positions, n inputs of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.nn.functional import normalize
from transformers.pytorch_utils import Conv1D

from ....system.backbone import Backbone, Tokens, run
from ....system.low_rank import trimmed
from ....system.message import Party
from ....system.partial import FULL, Bottom, load_tuned, record_inputs
from ....system.view import View, finite
from .spans import Span, rows_span

WEIGHT = ".weight"
LOW_RANK, _B = ".lora_A.", ".lora_B."
"""In the names of peft's two factors."""
ROUNDING = 4e-7
"""Relative change that rounding alone may make."""
SAMPLED = 100_000
"""Entries of a table that its decay is read off."""
KEPT = 1 << 27
"""Values at most that are kept of what enters the first map."""
State = Mapping[str, torch.Tensor]


class Update(NamedTuple):
    """What one device trained between two averages."""

    device: Party
    before: State
    after: State


def updates(view: View) -> Iterator[Update]:
    """Every update in order, with the average that its device had been given, or what all began from."""
    given: dict[Party, State] = {}
    for message in view.messages:
        if message.kind == "average":
            given[message.receiver] = message.tensors
        elif message.kind == "update" and message.tensors:
            before = given.get(message.sender) or own_part(view.held["start"], message.tensors)
            if before.keys() == message.tensors.keys():
                yield Update(message.sender, before, {name: finite(part) for name, part in message.tensors.items()})


def own_part(start: State, sent: State) -> State:
    """Of what all began from, a device's part: where devices differ in depth or rank it is less than the whole."""
    rank = next((tensor.shape[0] for name, tensor in sent.items() if "lora_A" in name), None)
    whole = start if rank is None else trimmed(start, rank)
    return {name: whole[name] for name in sent if name in whole}


class Site(NamedTuple):
    """Linear maps that share an input, and the spans that it lies in."""

    map: str
    """One of the maps, by name."""
    spans: tuple[Span, ...]

    def distance(self, inputs: torch.Tensor) -> torch.Tensor:
        """Of inputs (N, n) the largest distance to a span: (N,)."""
        return torch.stack([span.distance(inputs) for span in self.spans]).amax(0)


class Tuned:
    """The devices' part of the backbone, at whatever state an update began from."""

    def __init__(self, backbone: Backbone, facts: Mapping[str, Any]) -> None:
        """The facts are a protocol's with low-rank or full tuning of the blocks up to a cut, or of all."""
        rank = FULL if facts["lora"]["full"] else int(facts.get("rank", facts["lora"]["rank"]))
        self._bottom = Bottom(backbone, facts.get("cut", len(backbone.blocks)), rank, torch.Generator())
        trained = [name for name, p in self._bottom.named_parameters() if p.requires_grad and p.dim() == 2]
        self._rows = {
            name.rpartition(LOW_RANK)[0] or name.removesuffix(WEIGHT): name for name in trained if _B not in name
        }
        self._maps = {name: self._bottom.get_submodule(name) for name in self._rows}
        self._embeddings = {name: m for name, m in self._maps.items() if isinstance(m, nn.Embedding)}
        for name in self._embeddings:
            del self._maps[name]
        self._together = self._sharing()
        self._kept: dict[tuple[int, int], torch.Tensor] = {}

    def at(self, state: State) -> None:
        """Put the part into a state."""
        load_tuned(self._bottom, state)

    def sites(self, update: Update, most: int) -> list[Site]:
        """The first places of a forward pass where the update shows every input; none where the very first does not.

        Equal tokens at equal positions, which enter the first maps alike, differ further on: a later span of fewer
        dimensions has lost some.
        """
        found: list[Site] = []
        least = 1
        for names in self._together:
            spans = [span for span in self._spans(names, update) if span is not None]
            if not found:
                least = max((span.dimensions for span in spans), default=0)
            if kept := tuple(span for span in spans if span.dimensions >= least):
                found.append(Site(names[0], kept))
            if not found or len(found) == most:
                break
        return found

    @property
    def first(self) -> str:
        """The first map, whose input is of a token and its position alone."""
        return self._together[0][0]

    @property
    def embeds(self) -> bool:
        """Whether embeddings are tuned as well, so that the first map's inputs change from step to step."""
        return bool(self._embeddings)

    @property
    def ordered(self) -> bool:
        """Whether what enters the first map depends on the position."""
        token = torch.zeros(1, dtype=torch.int64)
        return not torch.equal(self.openings(0, token), self.openings(1, token))

    def moved(self, update: Update) -> torch.Tensor | None:
        """Tokens whose embeddings moved otherwise than by a decay of all; None where embeddings are frozen."""
        table = self._bottom.model.get_input_embeddings()
        name = next((name for name, module in self._embeddings.items() if module is table), None)
        return None if name is None else moved_rows(update, self._rows[name])[0]

    def named(self, update: Update) -> list[int]:
        """At each position that moved, the token whose embedding moved most alike; none without a table of positions.

        A token's and its position's gradient are one and the same where no other text has either, so that even AdamW
        moves both alike, as long as both have moved alike before.
        """
        tokens = self._bottom.model.get_input_embeddings()
        tables = {module is tokens: moved_rows(update, self._rows[name]) for name, module in self._embeddings.items()}
        if len(tables) < 2:
            return []
        (of_token, token_changes), (_, position_changes) = tables[True], tables[False]
        if not len(of_token):
            return []
        alike = normalize(position_changes, dim=1) @ normalize(token_changes, dim=1).T
        return cast(list[int], of_token[alike.argmax(1)].tolist())

    def openings(self, position: int, tokens: torch.Tensor) -> torch.Tensor:
        """What enters the first map for each token (V,) at a position: (V, n); kept while embeddings are frozen."""
        key = (position, len(tokens))
        if (found := self._kept.get(key)) is not None:
            return found
        ids = tokens.unsqueeze(1)
        found = self._inputs(Tokens(ids, torch.ones_like(ids)), [self.first], torch.full_like(ids, position))[0][:, 0]
        if not self.embeds and (len(self._kept) + 1) * found.numel() <= KEPT:
            self._kept[key] = found
        return found

    def inputs(self, texts: Sequence[Sequence[int]], sites: Sequence[Site], last: int) -> list[torch.Tensor]:
        """What enters each site at the last few positions of equally long texts, end to end: each (B last, n)."""
        ids = torch.tensor(texts, dtype=torch.int64)
        found = self._inputs(Tokens(ids, torch.ones_like(ids)), [site.map for site in sites])
        return [one[:, -last:].flatten(0, 1) for one in found]

    def _inputs(self, tokens: Tokens, names: Sequence[str], places: torch.Tensor | None = None) -> list[torch.Tensor]:
        with record_inputs({name: self._maps[name] for name in names}) as taken:
            run(self._bottom.model, tokens, places=places)
        # some families run their feed-forward maps on positions of all texts end to end
        return [taken[name].reshape(*tokens.ids.shape, -1) for name in names]

    def _sharing(self) -> list[list[str]]:
        """The maps in the order of a forward pass, those that share an input together."""
        token = torch.zeros(1, 1, dtype=torch.int64)
        with torch.no_grad(), record_inputs(self._maps) as taken:
            run(self._bottom.model, Tokens(token, torch.ones_like(token)))
        together: dict[int, list[str]] = {}
        for name, tensor in taken.items():
            together.setdefault(id(tensor), []).append(name)
        return list(together.values())

    def _spans(self, names: Sequence[str], update: Update) -> Iterator[Span | None]:
        """Of maps that share an input: what their own changes show together, and what each B shows behind its A."""
        rows = [self._rows[name] for name in names]
        yield rows_span(*([self._by_input(row, state) for row in rows] for state in (update.before, update.after)))
        for row in rows:
            if LOW_RANK in row:
                other = row.replace(LOW_RANK, _B)
                span = rows_span([update.before[other]], [update.after[other]])
                yield span and span._replace(behind=update.before[row])

    def _by_input(self, row: str, state: State) -> torch.Tensor:
        """A map's tensor with a column for each entry of its input: some families store maps the other way round."""
        module = self._maps.get(row.removesuffix(WEIGHT))
        return state[row].T if isinstance(module, Conv1D) else state[row]


def moved_rows(update: Update, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Which rows of a table (V, n) moved otherwise than by a decay that is common to all, and by how much: (M, n)."""
    before, after = update.before[name].double(), update.after[name].double()
    decay = (after / before.where(before != 0, torch.ones(()))).flatten()[:: max(1, before.numel() // SAMPLED)].median()
    change = after - decay * before
    rows = (change.abs() > ROUNDING * before.abs().amax(1, keepdim=True)).any(1).nonzero().squeeze(1)
    return rows, change[rows]
