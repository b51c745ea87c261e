"""The messages of a transcript as a sequence: stored, picked or filed under other ids, with flat memory.

A stored message costs twelve bytes of memory until it is looked at: where its line begins, and a number for its kind,
sender and receiver, by which messages are picked without reading them again.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from . import files
from .codec import Precision
from .errors import UsageError
from .message import Message, Party

FIELDS = frozenset({"kind", "sender", "receiver", "ids", "tensors", "shard"})
"""What every line of messages.jsonl holds; `round`, `step` and `precision` stand for 0, 0 and fp32 where absent."""
BLOCK = 1024
"""Lines that are read, and messages that are picked, at a time."""


class Head(NamedTuple):
    """What messages are picked by."""

    kind: str
    sender: Party
    receiver: Party


@dataclass(frozen=True, eq=False)
class Heads:
    """The heads of many messages, in order, in little memory."""

    codes: NDArray[numpy.int32]
    """(messages,), places in `table`"""
    table: tuple[Head, ...]

    def present(self) -> set[Head]:
        """The heads that some message has."""
        blocks = (self.codes[start : start + BLOCK] for start in range(0, len(self.codes), BLOCK))
        return {self.table[code] for block in blocks for code in set(block.tolist())}

    def find(self, wanted: Callable[[Head], bool]) -> Iterator[int]:
        """Places of the messages whose heads are wanted, in order, a block at a time."""
        right = numpy.array([wanted(head) for head in self.table], dtype=bool)
        for start in range(0, len(self.codes), BLOCK):
            yield from (numpy.flatnonzero(right[self.codes[start : start + BLOCK]]) + start).tolist()


def heads_of(messages: Sequence[Message]) -> Heads:
    """The heads of any messages; those of a `Messages` are there already."""
    if isinstance(messages, Messages):
        return messages.heads
    table: dict[Head, int] = {}
    codes = [table.setdefault(Head(m.kind, m.sender, m.receiver), len(table)) for m in messages]
    return Heads(numpy.array(codes, dtype=numpy.int32), tuple(table))


class Messages(Sequence[Message]):
    """A sequence that makes each message when it is asked for; a slice of it is one, too."""

    @property
    @abstractmethod
    def heads(self) -> Heads:
        """The messages' heads, known without making a message."""

    @abstractmethod
    def at(self, place: int) -> Message:
        """The message at a place from 0 to the length less one."""

    def __len__(self) -> int:
        return len(self.heads.codes)

    def __getitem__(self, index: Any) -> Any:
        chosen = range(len(self))[index]
        if isinstance(chosen, range):
            return Picked(self, numpy.array(chosen, dtype=numpy.int64))
        return self.at(chosen)

    def __iter__(self) -> Iterator[Message]:
        return map(self.at, range(len(self)))


@dataclass(frozen=True, eq=False)
class Picked(Messages):
    """Some of the messages of a sequence."""

    messages: Sequence[Message]
    places: NDArray[numpy.int64]

    @property
    def heads(self) -> Heads:
        heads = heads_of(self.messages)
        return Heads(heads.codes[self.places], heads.table)

    def __len__(self) -> int:
        return len(self.places)

    def at(self, place: int) -> Message:
        return self.messages[int(self.places[place])]


def pick(messages: Sequence[Message], wanted: Callable[[Head], bool]) -> Picked:
    """The messages whose heads are wanted, in order."""
    places = numpy.fromiter(heads_of(messages).find(wanted), dtype=numpy.int64)
    if isinstance(messages, Picked):  # one step to the stored messages, however often a view is cut
        return Picked(messages.messages, messages.places[places])
    return Picked(messages, places)


@dataclass(frozen=True, eq=False)
class Refiled(Messages):
    """The same messages with every sample's id replaced by another's."""

    messages: Sequence[Message]
    other: Mapping[str, str]

    @property
    def heads(self) -> Heads:
        return heads_of(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def at(self, place: int) -> Message:
        message = self.messages[place]
        return replace(message, sample_ids=tuple(self.other[i] for i in message.sample_ids))


class Stored(Messages):
    """Messages in a view's folder: lines are parsed and tensors are read when they are asked for.

    Opening it reads messages.jsonl once, a line at a time; a line that is damaged is a UsageError that names it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / "messages.jsonl"
        self._starts, self._heads = _scanned(self._path)
        # two of each: a reader may compare one pass over the data with another
        self._block = lru_cache(maxsize=2)(partial(_block, self._path, self._starts))
        self._shard = lru_cache(maxsize=2)(partial(_shard, root))

    @property
    def heads(self) -> Heads:
        return self._heads

    def at(self, place: int) -> Message:
        block, within = divmod(place, BLOCK)
        entry = files.parsed(self._block(block)[within], self._path)
        return Message(
            kind=entry["kind"],
            sender=entry["sender"],
            receiver=entry["receiver"],
            round=entry.get("round", 0),
            step=entry.get("step", 0),
            sample_ids=tuple(entry["ids"]),
            tensors=Tensors(self._tensor, place, entry["shard"], entry["tensors"]),
            precision=cast(Precision, entry.get("precision", "fp32")),
        )

    def _tensor(self, shard: int, key: str) -> torch.Tensor:
        return torch.from_numpy(self._shard(shard).get_tensor(key))


def _block(path: Path, starts: NDArray[numpy.int64], number: int) -> list[bytes]:
    """The lines of up to `BLOCK` messages."""
    bounds = starts[number * BLOCK : (number + 1) * BLOCK + 1].tolist()
    with path.open("rb") as file:
        file.seek(bounds[0])
        data = file.read(bounds[-1] - bounds[0])
    return [data[here - bounds[0] : there - bounds[0]] for here, there in pairwise(bounds)]


def _shard(root: Path, number: int) -> Any:
    # by way of numpy: safetensors 0.8 keeps 64 bytes for every tensor that it makes for torch, for ever
    return safe_open(root / f"shard-{number:05d}.safetensors", framework="np")


def _scanned(path: Path) -> tuple[NDArray[numpy.int64], Heads]:
    """Where each message's line begins and, last, where the file ends; and the heads."""
    starts, codes = array("q"), array("i")
    table: dict[Head, int] = {}
    for number, start, entry in files.located_lines(path):
        if not isinstance(entry, dict) or not entry.keys() >= FIELDS:
            raise UsageError(f"{path} line {number} is no message; record the run again")
        starts.append(start)
        codes.append(table.setdefault(Head(entry["kind"], entry["sender"], entry["receiver"]), len(table)))
    starts.append(path.stat().st_size if path.exists() else 0)
    return numpy.frombuffer(starts, dtype=numpy.int64), Heads(numpy.frombuffer(codes, dtype=numpy.int32), tuple(table))


@dataclass(frozen=True)
class Tensors(Mapping[str, torch.Tensor]):
    """A stored message's tensors, each read when it is looked at: kinds and ids are often all that is asked for."""

    read: Callable[[int, str], torch.Tensor]
    place: int
    shard: int
    names: Sequence[str]

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self.names:
            raise KeyError(name)
        return self.read(self.shard, f"{self.place}/{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
