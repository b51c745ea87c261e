"""Private files are written whole, readable by their owner, and read back as they were."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidelight.system.errors import UsageError
from sidelight.system.files import (
    append_lines,
    iterate_lines,
    line_of,
    located_lines,
    read_json,
    read_lines,
    whole,
    write_json,
    write_lines,
    write_text,
)


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


def test_the_lines_before_a_damaged_one_are_given_first(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": 1}\n\n"two"\n"\xff"\n3\n')
    lines = iterate_lines(tmp_path / "rows.jsonl")
    assert [next(lines), next(lines)] == [{"a": 1}, "two"]
    with pytest.raises(UsageError, match=r"rows\.jsonl line 4 is not UTF-8"):
        next(lines)


def test_a_located_line_begins_where_it_is_said_to(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('"caf\xe9 \u2028"\r\n\r\n\n[2]\n{"last": 3}'.encode())
    found = list(located_lines(path))
    assert [(number, value) for number, _, value in found] == [(1, "caf\xe9 \u2028"), (4, [2]), (5, {"last": 3})]
    assert [path.read_bytes()[start : start + 2] for _, start, _ in found] == [b'"c', b"[2", b'{"']


def test_lines_are_written_and_read_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    tracemalloc.start()
    try:
        write_lines(path, ({"row": i, "text": "x" * 1000} for i in range(5000)))
        rows = sum(value["row"] for value in iterate_lines(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 5000 * 4999 // 2
    assert path.stat().st_size > 5_000_000
    assert peak < 500_000


def test_lines_that_end_in_an_error_leave_the_file_as_it_was(tmp_path: Path) -> None:
    def failing() -> Iterator[int]:
        yield 2
        raise RuntimeError("no more")

    path = tmp_path / "rows.jsonl"
    write_lines(path, [1])
    with pytest.raises(RuntimeError, match="no more"):
        write_lines(path, failing())
    assert read_lines(path) == [1]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


def test_appended_lines_follow_those_that_are_there_and_are_their_owner_s(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_lines(path, [])
    assert read_lines(path) == []
    append_lines(path, map(line_of, [1, "\u2028"]))
    append_lines(path, [line_of({"three": 3})])
    assert read_lines(path) == [1, "\u2028", {"three": 3}]
    assert path.stat().st_mode & 0o777 == 0o600


def test_reading_files_needs_no_tensor_library() -> None:
    code = (
        "import sys, sidelight.system.files; print([m for m in ('torch', 'numpy', 'safetensors') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{"])
def test_a_damaged_file_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"value\.json is not"):
        read_json(tmp_path / "value.json")


def test_a_missing_file_is_a_usage_error_and_missing_lines_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"value\.json is missing"):
        read_json(tmp_path / "value.json")
    assert read_lines(tmp_path / "rows.jsonl") == []


def test_two_who_fill_the_same_folder_do_not_mix_and_the_later_one_stays(tmp_path: Path) -> None:
    with whole(tmp_path / "cell") as one, whole(tmp_path / "cell") as other:  # two machines may have one process number
        (one / "one").touch()
        (other / "other").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["cell"]
    assert [path.name for path in (tmp_path / "cell").iterdir()] == ["one"]
