"""Private files are written whole, readable by their owner, and read back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.system.errors import UsageError
from sidelight.system.files import read_json, read_lines, whole, write_json, write_lines, write_text


def test_a_text_with_unicode_line_separators_stays_one_line(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\x85c\u2029d\ne"}, {"text": "second"}]
    write_lines(tmp_path / "rows.jsonl", rows)
    assert read_lines(tmp_path / "rows.jsonl") == rows


def test_a_written_file_is_its_owner_s_and_no_partial_is_left(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", {"a": 1})
    assert (tmp_path / "value.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]


def test_a_folder_whose_block_fails_never_appears_and_keeps_what_was_there(tmp_path: Path) -> None:
    with whole(tmp_path / "kept") as partial:
        write_text(partial / "a", "first")
    with pytest.raises(IsADirectoryError), whole(tmp_path / "kept") as partial:
        write_text(partial, "a folder cannot be replaced by a text")
    assert (tmp_path / "kept" / "a").read_text(encoding="utf-8") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n{"a":\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"rows\.jsonl line 2 is not valid JSON"):
        read_lines(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{"])
def test_a_damaged_file_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"value\.json is not"):
        read_json(tmp_path / "value.json")


def test_a_missing_file_is_a_usage_error_and_missing_lines_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"value\.json is missing"):
        read_json(tmp_path / "value.json")
    assert read_lines(tmp_path / "rows.jsonl") == []
