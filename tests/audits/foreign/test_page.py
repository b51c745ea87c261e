"""docs/foreign.md does what it says: its blocks run as they stand, and what they record is attacked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sidelight.audits.sandbox.workers import Workers
from sidelight.system.view import load_view

from .test_recording import attacked

PAGE = Path(__file__).parents[3] / "docs" / "foreign.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("block", "folder", "attack", "rows"), [(0, "recorded", "plaintext", 16), (1, "served", "sign", 2)]
)
def test_a_block_of_the_page_records_what_is_attacked(
    block: int, folder: str, attack: str, rows: int, tmp_path: Path, workers: Workers
) -> None:
    (tmp_path / "block.py").write_text(BLOCKS[block], encoding="utf-8")
    subprocess.run([sys.executable, "block.py"], cwd=tmp_path, check=True, capture_output=True, text=True)
    view = load_view(tmp_path / folder / "view")
    assert len(view.sample_ids()) == rows
    assert (tmp_path / folder / "run.json").is_file()
    classes = attacked(tmp_path / folder, attack, workers, tmp_path / "guesses")
    assert classes.keys() == set(view.sample_ids())


def test_the_page_has_no_other_code() -> None:
    assert len(BLOCKS) == 2
