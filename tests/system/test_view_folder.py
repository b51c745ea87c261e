"""The folder of a view: it is filled while the run goes on, read lazily, and damage to it is named."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sidelight.system import view as view_module
from sidelight.system.errors import UsageError
from sidelight.system.files import read_lines
from sidelight.system.message import Message
from sidelight.system.view import View, ViewWriter, load_view

IDS = tuple(f"{i:016x}" for i in range(9))
PARTIES = frozenset({"server"})


def activations(step: int) -> Message:
    """Two tensors and two samples."""
    tensors = {"activations": torch.tensor([step, -step]), "lengths": torch.ones(2, dtype=torch.int64)}
    ids = (IDS[step % 9], IDS[(step + 1) % 9])
    return Message("activations", "device-0", "server", step=step, sample_ids=ids, tensors=tensors)


def labels(step: int) -> Message:
    """One tensor."""
    return Message("labels", "device-0", "server", step=step, tensors={"labels": torch.tensor([step])})


def download(step: int) -> Message:
    """No tensor."""
    return Message("download", "device-0", "server", step=step)


def stored(root: Path, messages: Iterable[Message]) -> View:
    writer = ViewWriter(root, PARTIES)
    for message in messages:
        writer(message)
    writer.close({"tuned": {"w": torch.ones(1)}}, {})
    return load_view(root)


def seven() -> list[Message]:
    """Nine tensors."""
    return [activations(0), labels(1), labels(2), activations(3), labels(4), activations(5), download(6)]


@pytest.mark.parametrize(
    ("shard_tensors", "expected"), [(1, [2, 1, 1, 2, 1, 2, 0, 0]), (4, [4, 5, 0]), (5, [6, 3]), (100, [9])]
)
def test_a_shard_ends_at_a_number_of_tensors_or_of_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_tensors: int, expected: list[int]
) -> None:
    monkeypatch.setattr(view_module, "SHARD_TENSORS", shard_tensors)
    view = stored(tmp_path / "view", seven())
    # the tensors of one message stay together
    assert [len(load_file(shard)) for shard in sorted((tmp_path / "view").glob("shard-*"))] == expected
    assert [{name: t.tolist() for name, t in m.tensors.items()} for m in view.messages] == [
        {name: t.tolist() for name, t in m.tensors.items()} for m in seven()
    ]


def test_messages_lie_in_the_folder_before_the_run_ends_but_are_no_view_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "SHARD_TENSORS", 4)
    writer = ViewWriter(tmp_path / "view", PARTIES)
    for message in seven()[:4]:
        writer(message)
    entries = read_lines(tmp_path / "view" / "messages.jsonl")
    assert [(entry["kind"], entry["shard"]) for entry in entries] == [("activations", 0), ("labels", 0), ("labels", 0)]
    with pytest.raises(UsageError, match=r"manifest\.json is missing"):
        load_view(tmp_path / "view")


def test_a_view_that_an_earlier_version_wrote_still_loads(tmp_path: Path) -> None:
    line = (
        '{"kind": "labels", "sender": "device-0", "receiver": "server", "round": 0, "step": 0, "precision": "fp32", '
        '"ids": ["%s"], "tensors": ["labels"], "shard": %d}\n'
    )
    (tmp_path / "messages.jsonl").write_text(line % (IDS[0], 0) + "\n" + line % (IDS[1], 1), encoding="utf-8")
    save_file({"0/labels": torch.tensor([5])}, tmp_path / "shard-00000.safetensors")
    save_file({"1/labels": torch.tensor([7])}, tmp_path / "shard-00001.safetensors")
    save_file({"tuned/w": torch.ones(1)}, tmp_path / "held.safetensors")
    manifest = {"schema": 1, "parties": ["server"], "held": ["tuned"], "facts": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    view = load_view(tmp_path)
    ids, values = view.rows("labels", "labels")
    assert (ids, values.tolist()) == (IDS[:2], [5, 7])
    assert view.kinds == {"labels", "held:tuned"}


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (b'{"kind": "labels",', "is not valid JSON"),
        (b'"\xff"', "is not UTF-8"),
        (b"[1, 2]", "is no message"),
        (b'{"kind": "labels"}', "is no message"),
    ],
)
def test_a_damaged_line_is_named_when_the_view_is_loaded(tmp_path: Path, damaged: bytes, said: str) -> None:
    stored(tmp_path / "view", seven())
    path = tmp_path / "view" / "messages.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], damaged, *lines[3:]]))
    with pytest.raises(UsageError, match=rf"messages\.jsonl line 3 {said}"):
        load_view(tmp_path / "view")


def test_a_transcript_takes_less_than_forty_bytes_of_memory_a_message(tmp_path: Path) -> None:
    """Parsed, a line of this transcript takes more than a thousand bytes."""
    stored(tmp_path / "view", map(labels, range(10_000)))
    tracemalloc.start()
    try:
        view = load_view(tmp_path / "view")
        less = view.without(frozenset({"activations"}))
        assert sum(1 for _ in less.of("labels")) == 10_000
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    block = 2 * 1024 * 400  # two blocks of lines
    assert held < 10_000 * 40 + block
    assert peak < 10_000 * 40 + 2 * block
