"""What one party, or several in collusion, saw of a run: the messages it received and sent, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import safe_open

from . import files, folder
from .codec import Precision
from .message import Message, Party

SCHEMA = 1
SHARD_BYTES = 64 * 1024 * 1024
HELD = "held:"
"""Prefix of a held item where kinds and held items are named together."""


class Sequenced(NamedTuple):
    """One sample's activations in one message."""

    sample_id: str
    activations: torch.Tensor
    """(positions that crossed, layers that crossed, width), float32"""


@dataclass(frozen=True)
class View:
    """Messages as the parties decoded them, in order, with what the parties hold themselves."""

    parties: frozenset[Party]
    messages: Sequence[Message]
    held: Mapping[str, Mapping[str, torch.Tensor]]
    facts: Mapping[str, Any]
    """Public facts only: schema, protocol, paper version, threat model, library versions."""

    @property
    def received(self) -> Iterator[Message]:
        return (m for m in self.messages if m.receiver in self.parties)

    @property
    def sent(self) -> Iterator[Message]:
        return (m for m in self.messages if m.sender in self.parties)

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds that the parties received, and the names of what they hold behind `held:`."""
        return frozenset(m.kind for m in self.received) | {HELD + name for name in self.held}

    def of(self, kind: str) -> Iterator[Message]:
        """The received messages of a kind, in order."""
        return (m for m in self.received if m.kind == kind)

    def of_party(self, *parties: Party) -> View:
        """The part of a collusion's view that fewer parties saw."""
        kept = frozenset(parties)
        return replace(
            self, parties=kept, messages=[m for m in self.messages if m.sender in kept or m.receiver in kept]
        )

    def rows(self, kind: str, name: str) -> tuple[tuple[str, ...], torch.Tensor]:
        """Ids and the stacked tensor (samples, ...) of a kind with one row a sample; the first sighting counts."""
        ids: dict[str, torch.Tensor] = {}
        for message in self.of(kind):
            for sample_id, row in zip(message.sample_ids, message.tensors[name], strict=True):
                ids.setdefault(sample_id, row)
        return tuple(ids), torch.stack(list(ids.values())) if ids else torch.empty(0)

    def sequences(self, round_: int | None = None, kind: str = "activations") -> Iterator[Sequenced]:
        """Each sample's activations, in order of arrival; `round_` keeps one pass over the data.

        A message packs its samples end to end: `lengths` says how many positions each has, one where absent.
        """
        for message in self.of(kind):
            if round_ is not None and message.round != round_:
                continue
            lengths = message.tensors.get("lengths")
            sizes = [1] * len(message.sample_ids) if lengths is None else cast(list[int], lengths.tolist())
            parts = message.tensors[kind].split(sizes)
            yield from (Sequenced(i, p) for i, p in zip(message.sample_ids, parts, strict=True))

    def sample_ids(self) -> tuple[str, ...]:
        """Ids of all samples that crossed, in order of first arrival."""
        return tuple(dict.fromkeys(i for m in self.received for i in m.sample_ids))

    def without(self, kinds: frozenset[str]) -> View:
        """The view as if some kinds had never crossed, or some items (`held:NAME`) were not held."""
        return replace(
            self,
            messages=[m for m in self.messages if m.kind not in kinds],
            held={name: item for name, item in self.held.items() if HELD + name not in kinds},
        )

    def shuffled(self, generator: torch.Generator) -> View:
        """The view with every sample's messages filed under another sample's id: what a blind twin sees."""
        ids = tuple(dict.fromkeys(i for m in self.messages for i in m.sample_ids))
        order = torch.randperm(len(ids), generator=generator).tolist()
        # a rotation along a random cycle leaves no sample in its own place
        other = {ids[order[i]]: ids[order[(i + 1) % len(ids)]] for i in range(len(ids))}
        return replace(self, messages=_Refiled(self.messages, other))


@dataclass(frozen=True)
class _Refiled(Sequence[Message]):
    messages: Sequence[Message]
    other: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.messages)

    def __getitem__(self, index: Any) -> Any:
        message = self.messages[index]
        return replace(message, sample_ids=tuple(self.other[i] for i in message.sample_ids))


class ViewWriter:
    """Writes a view while a run goes on: memory stays below one shard."""

    def __init__(self, root: Path, parties: frozenset[Party]) -> None:
        self._root, self._parties = root, parties
        self._entries: list[dict[str, Any]] = []
        self._pending: dict[str, torch.Tensor] = {}
        self._bytes = 0
        self._shards = 0
        self.received: set[str] = set()
        """Kinds with tensors that the parties have received so far."""
        root.mkdir(mode=files.PRIVATE)

    def __call__(self, message: Message) -> None:
        """Listen to a wire: keep the messages that the parties saw."""
        if not {message.sender, message.receiver} & self._parties:
            return
        if message.receiver in self._parties and message.tensors:
            self.received.add(message.kind)
        index = len(self._entries)
        self._entries.append(
            {
                "kind": message.kind,
                "sender": message.sender,
                "receiver": message.receiver,
                "round": message.round,
                "step": message.step,
                "precision": message.precision,
                "ids": list(message.sample_ids),
                "tensors": list(message.tensors),
                "shard": self._shards,
            }
        )
        for name, tensor in message.tensors.items():
            self._pending[f"{index}/{name}"] = tensor
            self._bytes += tensor.numel() * tensor.element_size()
        if self._bytes >= SHARD_BYTES:
            self._flush()

    def close(self, held: Mapping[str, Mapping[str, torch.Tensor]], facts: Mapping[str, Any]) -> None:
        """Write what is pending and the manifest."""
        self._flush()
        files.write_lines(self._root / "messages.jsonl", self._entries)
        parts = {f"{item}/{name}": t for item, tensors in held.items() for name, t in tensors.items()}
        folder.write_tensors(self._root / "held.safetensors", parts)
        manifest = {"schema": SCHEMA, "parties": sorted(self._parties), "held": sorted(held), "facts": dict(facts)}
        files.write_json(self._root / "manifest.json", manifest)

    def _flush(self) -> None:
        folder.write_tensors(self._root / f"shard-{self._shards:05d}.safetensors", self._pending)
        self._pending, self._bytes, self._shards = {}, 0, self._shards + 1


class _Stored(Sequence[Message]):
    """Messages read from their shards when asked for."""

    def __init__(self, root: Path, entries: list[dict[str, Any]]) -> None:
        self._root, self._entries = root, entries
        self._open: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        entry = self._entries[index]
        return Message(
            kind=entry["kind"],
            sender=entry["sender"],
            receiver=entry["receiver"],
            round=entry["round"],
            step=entry["step"],
            sample_ids=tuple(entry["ids"]),
            tensors=_Tensors(self._read, index, entry["shard"], entry["tensors"]),
            precision=cast(Precision, entry["precision"]),
        )

    def _read(self, shard: int, key: str) -> torch.Tensor:
        if self._open[0] != shard:
            self._open = (shard, safe_open(self._root / f"shard-{shard:05d}.safetensors", framework="pt"))
        tensor: torch.Tensor = self._open[1].get_tensor(key)
        return tensor


@dataclass(frozen=True)
class _Tensors(Mapping[str, torch.Tensor]):
    """A stored message's tensors, each read when it is looked at: kinds and ids are often all that is asked for."""

    read: Callable[[int, str], torch.Tensor]
    index: int
    shard: int
    names: Sequence[str]

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self.names:
            raise KeyError(name)
        return self.read(self.shard, f"{self.index}/{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def load_view(root: Path) -> View:
    """The view in a folder; tensors are read when asked for."""
    manifest = files.read_json(root / "manifest.json")
    held: dict[str, dict[str, torch.Tensor]] = {name: {} for name in manifest["held"]}
    for key, tensor in folder.read_tensors(root / "held.safetensors").items():
        item, _, name = key.partition("/")
        held[item][name] = tensor
    stored = _Stored(root, files.read_lines(root / "messages.jsonl"))
    return View(frozenset(manifest["parties"]), stored, held, manifest["facts"])
