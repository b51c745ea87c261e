"""The messages of a view that somebody else recorded, walked through once, a line and a shard at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...system import files
from ...system.codec import PRECISIONS
from ...system.envelope import MOST_LETTERS, MOST_NAME, NAME
from ...system.errors import UsageError
from ...system.message import Party
from ..kinds import LENGTHS, MOST_ID
from .fields import TEXTS, Fields, Wanted, at_least, object_in, one_of, plain_file
from .lines import Line, check
from .tensors import Place, Tensors, opened

"""Characters of an id."""
NAMES = f"letters, digits and _ . : -, the first a letter or digit, at most {MOST_LETTERS}"
NAMED = Wanted(
    NAMES, lambda value: isinstance(value, str) and len(value) <= MOST_LETTERS and bool(NAME.fullmatch(value)), True
)
COUNT, PRECISION = at_least(0), one_of(*PRECISIONS)
MOST_SHARDS = 100_000
MOST_STRANGERS = 100_000
"""Ids that are counted one by one."""
SHARD = Wanted(
    f"a whole number from 0 to {MOST_SHARDS - 1}", lambda value: type(value) is int and 0 <= value < MOST_SHARDS
)


class Flow(NamedTuple):
    """Messages that are counted together."""

    kind: str
    sender: Party
    receiver: Party


@dataclass
class Crossed:
    """What a walk through the messages found."""

    flows: Counter[Flow] = field(default_factory=Counter)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Of `KIND/TENSOR`, the shape of one row."""
    wanted: set[str] = field(default_factory=set)
    """Those of the ids looked for that crossed."""
    strangers: set[str] = field(default_factory=set)
    """Ids that nobody looked for, the first MOST_STRANGERS of them."""
    named: bool = False
    """Whether any message names a sample."""
    filled: set[str] = field(default_factory=set)
    """Kinds of which some message has a tensor."""
    packed: set[str] = field(default_factory=set)
    """Kinds of which some message says by `lengths` how many rows each sample has."""


def walk(root: Path, parties: frozenset[Party], wanted: Iterable[str]) -> Crossed:
    """Check every message of a view; UsageError names the first line that is wrong."""
    found = _Walk(root, parties, frozenset(wanted))
    for number, _, value in files.located_lines(found.path):
        found.line(object_in(value, f"{found.path} line {number}"), number)
    found.end()
    return found.crossed


class _Walk:
    """Keeps one shard's header at a time, and of the lines nothing but counts."""

    def __init__(self, root: Path, parties: frozenset[Party], wanted: frozenset[str]) -> None:
        self.path = root / "messages.jsonl"
        if not plain_file(self.path):
            raise UsageError(f"{self.path} is missing; give one message a line, as docs/transcripts.md shows")
        self.crossed = Crossed()
        self._root, self._parties, self._wanted = root, parties, wanted
        self._place = 0
        self._number = -1
        self._shard = Tensors(root, {}, 0)
        self._named = 0
        """Tensors of the open shard that lines have named."""
        self._opened: set[str] = set()
        self._first: dict[str, int] = {}

    def line(self, fields: Fields, number: int) -> None:
        flow = Flow(*(fields.get(name, NAMED) for name in Flow._fields))
        if not {flow.sender, flow.receiver} & self._parties:
            raise UsageError(
                f"{fields.where}: neither its sender nor its receiver is one of the manifest's parties, which are "
                f"{', '.join(sorted(self._parties))}; leave out what they did not see"
            )
        fields.get("round", COUNT, 0)
        fields.get("step", COUNT, 0)
        fields.get("precision", PRECISION, "fp32")
        ids = self._ids(fields)
        places = self._places(fields)  # which opens its shard
        self._keep(Line(fields.where, flow.kind, ids, places, self._shard, f"{self._place}/"), number)
        if places:
            self.crossed.filled.add(flow.kind)
        if LENGTHS in places:
            self.crossed.packed.add(flow.kind)
        self.crossed.flows[flow] += 1
        self.crossed.wanted.update(self._wanted.intersection(ids))
        self.crossed.named = self.crossed.named or bool(ids)
        for one in ids if len(self.crossed.strangers) < MOST_STRANGERS else ():
            if one not in self._wanted:
                self.crossed.strangers.add(one)
        self._place += 1

    def end(self) -> None:
        """Look at what no line has named."""
        self._close()
        for path in sorted(self._root.glob("shard-*.safetensors")):
            if path.name not in self._opened and opened(path).places:
                raise UsageError(f"{path} holds tensors that no line of messages.jsonl names; add the lines")

    def _keep(self, line: Line, number: int) -> None:
        for name, shape in check(line).items():
            key = f"{line.kind}/{name}"
            if self.crossed.shapes.setdefault(key, shape) != shape:
                first = self._first[key]
                raise UsageError(
                    f"{line.where}: a row of {name!r} has the shape {shape}, and {self.crossed.shapes[key]} in line "
                    f"{first}; give rows of one shape for every message of a kind"
                )
            self._first.setdefault(key, number)

    def _ids(self, fields: Fields) -> list[str]:
        ids: list[str] = fields.get("ids", TEXTS)
        if any(not 0 < len(one) <= MOST_ID for one in ids):
            raise UsageError(f"{fields.where}: an id has no character or more than {MOST_ID}; give 1 to {MOST_ID}")
        if len(set(ids)) < len(ids):
            raise UsageError(f"{fields.where}: an id stands twice in one message; give each sample once")
        return ids

    def _places(self, fields: Fields) -> dict[str, Place]:
        names: list[str] = fields.get("tensors", TEXTS)
        if any(len(name) > MOST_NAME or not NAME.fullmatch(name) for name in names) or len(set(names)) < len(names):
            raise UsageError(f"{fields.where}: tensors are not named by different {NAMES}; name them so")
        shard = fields.get("shard", SHARD)
        if shard != self._number:
            self._open(shard, fields.where, bool(names))
        keys = {name: f"{self._place}/{name}" for name in names}
        for name, key in keys.items():
            if key not in self._shard.places:
                raise UsageError(
                    f"{fields.where} names the tensor {name!r}, and {_name(shard)} holds no {key!r}; store it "
                    "under the number of its message, from 0, and its name"
                )
        self._named += len(names)
        return {name: self._shard.places[key] for name, key in keys.items()}

    def _open(self, shard: int, where: str, needed: bool) -> None:
        if shard < self._number:
            raise UsageError(
                f"{where} names shard {shard} behind shard {self._number}; store messages in the order of their shards"
            )
        self._close()
        path = self._root / _name(shard)
        if needed and not plain_file(path):
            raise UsageError(f"{where} names shard {shard}, and there is no {path.name}; number them from 0")
        self._number, self._named, self._shard = shard, 0, opened(path)
        self._opened.add(path.name)
        self._shard.refuse_not_finite()

    def _close(self) -> None:
        """Refuse tensors of the open shard that no line has named: their numbers are wrong."""
        if len(self._shard.places) > self._named:
            raise UsageError(
                f"{self._shard.path} holds {len(self._shard.places) - self._named} tensors that no line of "
                "messages.jsonl names; store each under the number of its message, from 0, and its name"
            )


def _name(shard: Any) -> str:
    return f"shard-{shard:05d}.safetensors"
