"""The folder of a view that somebody else recorded: manifest, messages and what the parties hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...system import versions
from ...system.envelope import NAME
from ...system.errors import UsageError
from ...system.message import Party
from ...system.view import HELD, SCHEMA
from .fields import Fields, Wanted, is_texts, stored_in
from .messages import NAMED, Crossed, walk
from .tensors import Place, opened

PARTIES = Wanted(
    "a list of different names of parties, at least one",
    lambda value: is_texts(value) and bool(value) and len(set(value)) == len(value) and all(map(NAMED.right, value)),
)
ITEMS = Wanted(
    "a list of different names without a slash",
    lambda value: is_texts(value) and len(set(value)) == len(value) and all(NAME.fullmatch(one) for one in value),
)


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says."""

    parties: frozenset[Party]
    held: tuple[str, ...]
    facts: Fields


@dataclass(frozen=True)
class Seen:
    """A view that is right, without its values."""

    manifest: Manifest
    held: dict[str, dict[str, Place]]
    """By item, its tensors."""
    crossed: Crossed

    @property
    def kinds(self) -> frozenset[str]:
        """As `View.kinds`."""
        received = {flow.kind for flow in self.crossed.flows if flow.receiver in self.manifest.parties}
        return frozenset(received) | {HELD + name for name in self.held}

    @property
    def shows(self) -> frozenset[str]:
        """The same without kinds that carry no tensor: they steer a run, and tell nothing else."""
        return self.kinds & (self.crossed.filled | {HELD + name for name in self.held})


def read_manifest(root: Path) -> Manifest:
    """manifest.json of a view's folder; UsageError where a field is wrong."""
    path = root / "manifest.json"
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; give the folder of a view, which holds manifest.json")
    fields = Fields(versions.checked(stored_in(path), path, SCHEMA), str(path))
    parties, held = fields.get("parties", PARTIES), fields.get("held", ITEMS, [])
    return Manifest(frozenset(parties), tuple(held), fields.inside("facts"))


def check_view(root: Path, manifest: Manifest, wanted: Iterable[str]) -> Seen:
    """Check a view's messages and what is held, and look for some ids; UsageError for the first thing that is wrong."""
    held = _held(root / "held.safetensors", manifest)
    crossed = walk(root, manifest.parties, wanted)
    if not crossed.flows and not held:
        raise UsageError(f"{root / 'messages.jsonl'} holds no message, and nothing is held; give one a line")
    return Seen(manifest, held, crossed)


def _held(path: Path, manifest: Manifest) -> dict[str, dict[str, Place]]:
    tensors = opened(path)
    held: dict[str, dict[str, Place]] = {name: {} for name in manifest.held}
    for key, place in tensors.places.items():
        item, slash, name = key.partition("/")
        if item not in held or not slash or not name:
            raise UsageError(
                f"{path} holds {key[:80]!r}, which begins with no item of `held` in manifest.json; name it ITEM/NAME"
            )
        held[item][name] = place
    for item, own in held.items():
        if not own:
            raise UsageError(
                f"{path} holds no tensor of {item!r}, which manifest.json names; add {item}/NAME, or leave "
                "it out of `held`"
            )
    tensors.refuse_not_finite()
    return held
