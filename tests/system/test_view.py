"""Views: selecting, shuffling, sequences, and the folder that holds one."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidelight.system import view as view_module
from sidelight.system.message import Message
from sidelight.system.view import View, ViewWriter, load_view

IDS = tuple(f"{i:02x}" * 8 for i in range(10))
FACTS = {"protocol": "planted", "layers": [1, 2]}


def activations(ids: tuple[str, ...], lengths: list[int], round_: int = 0, sender: str = "device-0") -> Message:
    """Position p of sample i in round r is (i, p, r), in two layers."""
    rows = [
        [[float(IDS.index(i)), float(p), float(round_)]] * 2
        for i, n in zip(ids, lengths, strict=True)
        for p in range(n)
    ]
    tensors = {"activations": torch.tensor(rows), "lengths": torch.tensor(lengths)}
    return Message("activations", sender, "server", round_, 0, ids, tensors)


def labels(ids: tuple[str, ...], sender: str = "device-0") -> Message:
    tensors = {"labels": torch.tensor([IDS.index(i) for i in ids])}
    return Message("labels", sender, "server", sample_ids=ids, tensors=tensors)


def gradient(ids: tuple[str, ...]) -> Message:
    return Message("gradient", "server", "device-0", sample_ids=ids, tensors={"gradient": torch.ones(len(ids))})


def planted() -> View:
    """Two devices; the second round sends the first device's rows again, in another order."""
    messages = [
        activations(IDS[:3], [2, 1, 3]),
        labels(IDS[:3]),
        gradient(IDS[:3]),
        activations(IDS[3:5], [1, 1], sender="device-1"),
        labels(IDS[3:5], sender="device-1"),
        activations((IDS[2], IDS[0], IDS[1]), [3, 2, 1], round_=1),
        Message("download", "device-0", "server"),
    ]
    return View(frozenset({"server"}), messages, {"tuned": {"w": torch.ones(2)}, "cache": {}}, FACTS)


def test_received_sent_and_kinds_are_those_of_the_parties() -> None:
    view = planted()
    assert [m.kind for m in view.sent] == ["gradient"]
    assert len(list(view.received)) == 6
    assert view.kinds == {"activations", "labels", "download", "held:tuned", "held:cache"}
    assert [m.sender for m in view.of("labels")] == ["device-0", "device-1"]
    assert list(view.of("gradient")) == []


def test_a_part_of_a_collusion_sees_only_its_own_messages() -> None:
    both = replace(planted(), parties=frozenset({"server", "device-0"}))
    assert both.kinds >= {"gradient", "activations"}
    device = both.of_party("device-0")
    assert {m.sender for m in device.messages} == {"device-0", "server"}
    assert [m.kind for m in device.received] == ["gradient"]
    assert list(both.of_party("device-1").received) == []
    assert [m.kind for m in both.of_party("device-1").sent] == ["activations", "labels"]


def test_rows_stack_the_first_sighting_of_every_sample() -> None:
    ids, stacked = planted().rows("labels", "labels")
    assert ids == IDS[:5]
    assert stacked.tolist() == [0, 1, 2, 3, 4]
    again = Message("labels", "device-0", "server", sample_ids=(IDS[0],), tensors={"labels": torch.tensor([9])})
    view = planted()
    assert replace(view, messages=[*view.messages, again]).rows("labels", "labels")[1].tolist() == [0, 1, 2, 3, 4]
    none, empty = view.rows("difference", "difference")
    assert none == ()
    assert empty.numel() == 0


def test_sequences_are_parted_by_their_lengths() -> None:
    found = list(planted().sequences(0))
    assert [s.sample_id for s in found] == list(IDS[:5])
    assert [tuple(s.activations.shape) for s in found] == [(2, 2, 3), (1, 2, 3), (3, 2, 3), (1, 2, 3), (1, 2, 3)]
    for i, sequence in enumerate(found):
        assert sequence.activations[:, 0].tolist() == [[i, p, 0] for p in range(len(sequence.activations))]


def test_sequences_of_one_round_or_of_all() -> None:
    view = planted()
    assert [s.sample_id for s in view.sequences(1)] == [IDS[2], IDS[0], IDS[1]]
    assert len(list(view.sequences())) == 8
    assert list(view.sequences(2)) == []


def test_without_lengths_a_sample_has_one_position() -> None:
    message = Message("x", "device-0", "server", sample_ids=IDS[:3], tensors={"x": torch.arange(6.0).view(3, 2)})
    view = View(frozenset({"server"}), [message], {}, {})
    assert [s.activations.tolist() for s in view.sequences(kind="x")] == [[[0, 1]], [[2, 3]], [[4, 5]]]


def test_batches_are_the_sequences_of_each_message() -> None:
    view = planted()
    assert [[s.sample_id for s in batch] for batch in view.batches(0)] == [list(IDS[:3]), list(IDS[3:5])]


def test_what_is_no_finite_number_reads_as_zero_and_is_kept_as_it_came() -> None:
    sent = torch.tensor([[1.0, torch.nan], [torch.inf, -torch.inf]])
    view = View(frozenset({"server"}), [Message("x", "d", "server", sample_ids=IDS[:2], tensors={"x": sent})], {}, {})
    assert view.rows("x", "x")[1].tolist() == [[1, 0], [0, 0]]
    assert [s.activations.tolist() for s in view.sequences(kind="x")] == [[[1, 0]], [[0, 0]]]
    assert next(view.of("x")).tensors["x"].isnan().any()


def test_sample_ids_come_in_order_of_first_arrival() -> None:
    assert planted().sample_ids() == IDS[:5]


def test_without_drops_kinds_and_held_items() -> None:
    view = planted()
    less = view.without(frozenset({"labels", "held:tuned", "never crossed"}))
    assert less.kinds == {"activations", "download", "held:cache"}
    assert len(less.messages) == 5
    assert view.kinds == planted().kinds


@pytest.mark.parametrize("seed", range(20))
def test_shuffling_leaves_no_sample_in_place_and_loses_none(seed: int) -> None:
    view = planted()
    shuffled = view.shuffled(torch.Generator().manual_seed(seed))
    assert shuffled.kinds == view.kinds
    assert len(shuffled.messages) == len(view.messages)
    ids, values = shuffled.rows("labels", "labels")
    moved = dict(zip(ids, values.tolist(), strict=True))
    assert set(moved) == set(IDS[:5])
    assert sorted(moved.values()) == [0, 1, 2, 3, 4]
    assert all(IDS[value] != sample_id for sample_id, value in moved.items())
    # all kinds and rounds move together
    for sequence in shuffled.sequences():
        assert sequence.activations[0, 0, 0] == moved[sequence.sample_id]


def test_shuffles_differ_by_generator_and_leave_the_view_alone() -> None:
    view = planted()
    orders = {view.shuffled(torch.Generator().manual_seed(seed)).sample_ids() for seed in range(10)}
    assert len(orders) > 5
    assert view.sample_ids() == IDS[:5]


def test_a_view_that_only_sent_its_samples_can_be_shuffled() -> None:
    view = planted().without(frozenset({"activations", "labels"}))
    moved = view.shuffled(torch.Generator().manual_seed(0))
    (sent,) = moved.sent
    assert set(sent.sample_ids) == set(IDS[:3])
    assert all(a != b for a, b in zip(sent.sample_ids, IDS[:3], strict=True))


# --- the folder -----------------------------------------------------------------------------------------------


def stored(root: Path, parties: frozenset[str] = frozenset({"server"})) -> View:
    writer = ViewWriter(root, parties)
    for message in planted().messages:
        writer(message)
    writer.close(planted().held, FACTS)
    return load_view(root)


def same(one: Message, other: Message) -> bool:
    return replace(one, tensors={}) == replace(other, tensors={}) and all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )


@pytest.mark.parametrize("shard_bytes", [1, 60, 1 << 20])
def test_a_written_view_comes_back_over_any_number_of_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(view_module, "SHARD_BYTES", shard_bytes)
    view, expected = stored(tmp_path / "view"), planted()
    shards = len(list((tmp_path / "view").glob("shard-*.safetensors")))
    assert shards >= 6 if shard_bytes == 1 else shards >= 2 or shard_bytes > 60
    assert len(view.messages) == len(expected.messages)
    assert all(same(a, b) for a, b in zip(view.messages, expected.messages, strict=True))
    assert same(view.messages[-2], expected.messages[-2])
    assert [m.kind for m in view.messages[1:3]] == ["labels", "gradient"]
    assert view.parties == expected.parties
    assert view.facts == FACTS
    assert view.held.keys() == {"tuned", "cache"}
    assert torch.equal(view.held["tuned"]["w"], torch.ones(2))
    with pytest.raises(IndexError):
        view.messages[len(expected.messages)]


def test_a_stored_view_can_be_read_in_any_order_shuffled_and_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "SHARD_BYTES", 1)
    view, expected = stored(tmp_path / "view"), planted()
    for at in (5, 0, 3, 5, 1):
        assert same(view.messages[at], expected.messages[at])
    for seed in range(3):
        here, there = (v.shuffled(torch.Generator().manual_seed(seed)) for v in (view, expected))
        assert here.rows("labels", "labels")[0] == there.rows("labels", "labels")[0]
    assert view.without(frozenset({"labels"})).kinds == expected.without(frozenset({"labels"})).kinds


def test_only_what_the_parties_saw_is_written(tmp_path: Path) -> None:
    view = stored(tmp_path / "view", frozenset({"device-1"}))
    assert [m.sender for m in view.messages] == ["device-1", "device-1"]
    assert IDS[0] not in (tmp_path / "view" / "messages.jsonl").read_text()


def test_a_view_is_readable_by_its_owner_only_and_holds_no_pickle(tmp_path: Path) -> None:
    stored(tmp_path / "view")
    assert stat.S_IMODE((tmp_path / "view").stat().st_mode) == 0o700
    files = list((tmp_path / "view").iterdir())
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert {file.suffix for file in files} == {".json", ".jsonl", ".safetensors"}
    assert json.loads((tmp_path / "view" / "manifest.json").read_text()) == {
        "schema": 1,
        "parties": ["server"],
        "held": ["cache", "tuned"],
        "facts": FACTS,
    }


def test_an_empty_view_comes_back_empty(tmp_path: Path) -> None:
    ViewWriter(tmp_path / "view", frozenset({"server"})).close({}, {})
    view = load_view(tmp_path / "view")
    assert len(view.messages) == 0
    assert view.kinds == frozenset()
    assert view.sample_ids() == ()
