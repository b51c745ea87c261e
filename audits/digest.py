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
