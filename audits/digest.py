"""Digests: what is stored under one is found again by everything that made it."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SCHEMA = 2
"""Of stored results; a part of every run's name."""


def digest(value: Any) -> str:
    """First 12 hexadecimal digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def code_digest(module: str) -> str:
    """Digest of a module's source: what it made before it was rewritten is made again."""
    origin = getattr(find_spec(module), "origin", None)
    return hashlib.sha256(Path(origin).read_bytes() if origin else b"").hexdigest()[:12]


def folders_digest(*folders: Path) -> str:
    """Of the names and bytes of every file in some folders: other contents are another recording."""
    state = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            with path.open("rb") as file:
                state.update(f"{folder.name}/{path.name}\0".encode())
                state.update(hashlib.file_digest(file, "sha256").digest())
    return state.hexdigest()[:16]
