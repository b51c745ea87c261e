"""What can be named on the command line, with a line about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from ..attacks import ATTACKS
from ..system.backbone import BACKBONES
from ..system.defences import DEFENCES, Defence
from ..system.presets import PRESETS
from ..system.protocols import PROTOCOLS
from .cells.metrics import METRICS
from .suites.suite_file import BUILT_IN

Named = list[tuple[str, str]]


def _settings(defence: type[Defence]) -> str:
    """Its settings with their defaults; revealing a key is a control's."""
    own = [f"{field.name}={field.default}" for field in fields(defence) if field.name != "revealed"]
    return f"; {', '.join(own)}" if own else ""


TABLES: dict[str, Callable[[], Named]] = {
    "protocols": lambda: [
        *((name, f"{PROTOCOLS[name].title} ({PROTOCOLS[name].source})") for name in PROTOCOLS),
        *((name, f"{preset.title} (a preset)") for name, preset in PRESETS.items()),
    ],
    "attacks": lambda: [(name, f"{ATTACKS[name].goal}: {ATTACKS[name].source}") for name in ATTACKS],
    "defences": lambda: [
        (name, f"{DEFENCES[name].title} ({DEFENCES[name].source}){_settings(DEFENCES[name])}") for name in DEFENCES
    ],
    "metrics": lambda: [(name, f"{METRICS[name].goal}: {METRICS[name].source}") for name in METRICS],
    "backbones": lambda: [(name, "packaged; or any local folder or Hugging Face id") for name in BACKBONES],
    "data": lambda: [("messages", "generated; or FILE.jsonl, FILE.csv, or a `datasets` id")],
    "suites": lambda: [(name, "") for name in BUILT_IN],
}
