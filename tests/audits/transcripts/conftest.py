"""A copy of the recording of the first version, for a test to change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sidelight.audits.given.reading import Folders

FIRST = Path(__file__).parent / "schema-1"


@pytest.fixture
def copy(tmp_path: Path) -> Folders:
    root = tmp_path / "recording"
    shutil.copytree(FIRST, root)
    return Folders(root / "view", root / "public", root / "truth")
