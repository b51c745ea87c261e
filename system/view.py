"""What one party, or several in collusion, saw of a run: the messages it received and sent, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from . import files, folder, versions
from .message import Message, Party
from .transcript import Head, Refiled, Stored, heads_of, pick

SCHEMA = 1
"""Of the manifest and what it tells of: docs/transcripts.md lists the versions."""
SHARD_BYTES = 64 * 1024 * 1024
SHARD_TENSORS = 8192
"""A shard ends at either: many small tensors take more memory than their bytes."""
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
        return self._where(lambda head: head.receiver in self.parties)

    @property
    def sent(self) -> Iterator[Message]:
        return self._where(lambda head: head.sender in self.parties)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Kinds that the parties received, and the names of what they hold behind `held:`."""
        received = {head.kind for head in heads_of(self.messages).present() if head.receiver in self.parties}
        return frozenset(received) | {HELD + name for name in self.held}

    def of(self, kind: str) -> Iterator[Message]:
        """The received messages of a kind, in order."""
        return self._where(lambda head: head.kind == kind and head.receiver in self.parties)

    def of_party(self, *parties: Party) -> View:
        """The part of a collusion's view that fewer parties saw."""
        kept = frozenset(parties)
        seen = pick(self.messages, lambda head: head.sender in kept or head.receiver in kept)
        return replace(self, parties=kept, messages=seen)

    def rows(self, kind: str, name: str) -> tuple[tuple[str, ...], torch.Tensor]:
        """Ids and the stacked tensor (samples, ...) of a kind with one row a sample; the first sighting counts.

        What is no finite number reads as zero here and in `sequences`: senders may be hostile.
        """
        ids: dict[str, torch.Tensor] = {}
        for message in self.of(kind):
            if ids.keys() >= set(message.sample_ids):  # a later pass over the data: its tensors need not be read
                continue
            for sample_id, row in zip(message.sample_ids, message.tensors[name], strict=True):
                ids.setdefault(sample_id, row)
        return tuple(ids), finite(torch.stack(list(ids.values()))) if ids else torch.empty(0)

    def sequences(self, round_: int | None = None, kind: str = "activations") -> Iterator[Sequenced]:
        """Each sample's activations, in order of arrival; `round_` keeps one pass over the data."""
        return chain.from_iterable(self.batches(round_, kind))

    def batches(self, round_: int | None = None, kind: str = "activations") -> Iterator[list[Sequenced]]:
        """The same, message by message.

        A message packs its samples end to end: `lengths` says how many positions each has, one where absent.
        """
        for message in self.of(kind):
            if round_ is not None and message.round != round_:
                continue
            lengths = message.tensors.get("lengths")
            sizes = [1] * len(message.sample_ids) if lengths is None else cast(list[int], lengths.tolist())
            parts = finite(message.tensors[kind]).split(sizes)
            yield [Sequenced(i, part) for i, part in zip(message.sample_ids, parts, strict=True)]

    def sample_ids(self) -> tuple[str, ...]:
        """Ids of all samples that crossed, in order of first arrival."""
        return self._sample_ids

    def without(self, kinds: frozenset[str]) -> View:
        """The view as if some kinds had never crossed, or some items (`held:NAME`) were not held."""
        return replace(
            self,
            messages=pick(self.messages, lambda head: head.kind not in kinds),
            held={name: item for name, item in self.held.items() if HELD + name not in kinds},
        )

    def shuffled(self, generator: torch.Generator) -> View:
        """The view with every sample's messages filed under another sample's id: what a blind twin sees."""
        ids = tuple(dict.fromkeys(i for m in self.messages for i in m.sample_ids))
        order = torch.randperm(len(ids), generator=generator).tolist()
        # a rotation along a random cycle leaves no sample in its own place
        other = {ids[order[i]]: ids[order[(i + 1) % len(ids)]] for i in range(len(ids))}
        return replace(self, messages=Refiled(self.messages, other))

    @cached_property
    def _sample_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(i for m in self.received for i in m.sample_ids))

    def _where(self, wanted: Callable[[Head], bool]) -> Iterator[Message]:
        return map(self.messages.__getitem__, heads_of(self.messages).find(wanted))


def finite(values: torch.Tensor) -> torch.Tensor:
    """Values with zeros where there are none that are finite."""
    return values.nan_to_num(0.0, 0.0, 0.0)


class ViewWriter:
    """Writes a view while a run goes on: memory stays below one shard. Without `close` the folder holds no view."""

    def __init__(self, root: Path, parties: frozenset[Party]) -> None:
        self._root, self._parties = root, parties
        self._count = 0
        self._lines: list[str] = []
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
        self._lines.append(files.line_of(_entry(message, self._shards)))
        self._bytes += len(self._lines[-1])
        for name, tensor in message.tensors.items():
            self._pending[f"{self._count}/{name}"] = tensor
            self._bytes += tensor.numel() * tensor.element_size()
        self._count += 1
        if self._bytes >= SHARD_BYTES or max(len(self._pending), len(self._lines)) >= SHARD_TENSORS:
            self._flush()

    def close(self, held: Mapping[str, Mapping[str, torch.Tensor]], facts: Mapping[str, Any]) -> None:
        """Write what is pending and the manifest."""
        self._flush()
        parts = {f"{item}/{name}": t for item, tensors in held.items() for name, t in tensors.items()}
        folder.write_tensors(self._root / "held.safetensors", parts)
        manifest = {"schema": SCHEMA, "parties": sorted(self._parties), "held": sorted(held), "facts": dict(facts)}
        files.write_json(self._root / "manifest.json", manifest)

    def _flush(self) -> None:
        folder.write_tensors(self._root / f"shard-{self._shards:05d}.safetensors", self._pending)
        files.append_lines(self._root / "messages.jsonl", self._lines)
        self._lines, self._pending, self._bytes, self._shards = [], {}, 0, self._shards + 1


def _entry(message: Message, shard: int) -> dict[str, Any]:
    """A message's line in messages.jsonl; its tensors lie in a shard."""
    return {
        "kind": message.kind,
        "sender": message.sender,
        "receiver": message.receiver,
        "round": message.round,
        "step": message.step,
        "precision": message.precision,
        "ids": list(message.sample_ids),
        "tensors": list(message.tensors),
        "shard": shard,
    }


def load_view(root: Path) -> View:
    """The view in a folder; messages and their tensors are read when asked for."""
    path = root / "manifest.json"
    manifest = versions.checked(files.read_json(path), path, SCHEMA)
    held: dict[str, dict[str, torch.Tensor]] = {name: {} for name in manifest.get("held", ())}
    for key, tensor in folder.read_tensors(root / "held.safetensors").items():
        item, _, name = key.partition("/")
        held[item][name] = tensor
    return View(frozenset(manifest["parties"]), Stored(root), held, manifest.get("facts", {}))
