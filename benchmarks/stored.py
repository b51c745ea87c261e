"""Where a benchmark's finding is kept: NAME.json with the versions it was made with, and NAME.md."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from ..system import files
from .finding import Finding

LIBRARIES = ("sidelight", "torch", "transformers", "peft")


def store(found: Finding, folder: Path) -> None:
    """Write both files, each whole."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "versions": {name: version(name) for name in LIBRARIES},
        "machine": {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"},
    }
    files.write_json(folder / f"{found.name}.json", {**found.as_json(), **about})
    files.write_text(folder / f"{found.name}.md", found.as_markdown())
