"""Where a benchmark's finding is kept: NAME.json with when, where and with what it was made, and NAME.md."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..system import files
from .finding import Finding

LIBRARIES = ("sidelight", "torch", "transformers", "peft")
FORM = "sidelight-benchmark/1"


def store(found: Finding, folder: Path) -> None:
    """Write both files, each whole."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "form": FORM,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "machine": machine(),
    }
    files.write_json(folder / f"{found.name}.json", {**about, **found.as_json()})
    files.write_text(folder / f"{found.name}.md", found.as_markdown())


def machine() -> dict[str, Any]:
    """What figures depend on, and nothing that names the machine's owner."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
