"""What can be named on the command line, with a line about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

from ..attacks import ATTACKS
from ..system.backbone import BACKBONES
from ..system.defences import DEFENCES, Defence
from ..system.presets import PRESETS
from ..system.protocols import PROTOCOLS
from ..system.registry import Registry
from .cells.metrics import METRICS
from .suites.suite_file import BUILT_IN

Named = list[tuple[str, str]]
T = TypeVar("T")


def _settings(defence: type[Defence]) -> str:
    """Its settings with their defaults; revealing a key is a control's."""
    own = [f"{field.name}={field.default}" for field in fields(defence) if field.name != "revealed"]
    return f"; {', '.join(own)}" if own else ""


def _each(registry: Registry[T], about: Callable[[str, T], str]) -> Named:
    """A plug-in that cannot be loaded says so in its place."""
    broken = registry.broken()
    return [(name, broken.get(name) or about(name, registry[name])) for name in registry]


TABLES: dict[str, Callable[[], Named]] = {
    "protocols": lambda: [
        *_each(PROTOCOLS, lambda name, one: f"{one.title} ({one.source})"),
        *((name, f"{preset.title} (a preset)") for name, preset in PRESETS.items()),
    ],
    "attacks": lambda: _each(ATTACKS, lambda name, one: f"{one.goal}: {one.source}"),
    "defences": lambda: _each(DEFENCES, lambda name, one: f"{one.title} ({one.source}){_settings(one)}"),
    "metrics": lambda: _each(METRICS, lambda name, one: f"{one.goal}: {one.source}"),
    "backbones": lambda: [(name, "packaged; or any local folder or Hugging Face id") for name in BACKBONES],
    "data": lambda: [("messages", "generated; or FILE.jsonl, FILE.csv, or a `datasets` id")],
    "suites": lambda: [(name, "") for name in BUILT_IN],
}
