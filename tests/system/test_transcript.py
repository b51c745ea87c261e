"""A stored transcript is picked, cut and refiled as a list of the same messages would be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidelight.system import transcript
from sidelight.system.message import Message
from sidelight.system.transcript import Head, Picked, Stored, heads_of, pick
from sidelight.system.view import View, ViewWriter, load_view

IDS = tuple(f"{i:016x}" for i in range(5))
PARTIES = frozenset({"server"})


def sent(count: int) -> list[Message]:
    """Messages of three kinds from two devices, and answers to them; each sample comes again and again."""
    kinds = ("activations", "difference", "gradient", "labels")
    return [
        Message(
            kind=kinds[i % 4],
            sender="server" if i % 4 == 2 else f"device-{i % 3}",
            receiver=f"device-{i % 3}" if i % 4 == 2 else "server",
            round=i // 20,
            step=i // 4,
            sample_ids=(IDS[i % 5], IDS[(i + 1) % 5]),
            tensors={kinds[i % 4]: torch.tensor([i, -i])},
        )
        for i in range(count)
    ]


def stored(root: Path, count: int) -> View:
    writer = ViewWriter(root, PARTIES)
    for message in sent(count):
        writer(message)
    writer.close({}, {})
    return load_view(root)


def plain(message: Message) -> tuple[Message, Mapping[str, list[int]]]:
    return replace(message, tensors={}), {name: tensor.tolist() for name, tensor in message.tensors.items()}


@pytest.fixture(params=[1, 3, 7, 1024])
def views(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[View, View]:
    """The same 50 messages, stored and in memory."""
    monkeypatch.setattr(transcript, "BLOCK", request.param)
    return stored(tmp_path / "view", 50), View(PARTIES, sent(50), {}, {})


def test_stored_messages_are_those_that_were_written_in_any_order(views: tuple[View, View]) -> None:
    here, there = views
    assert len(here.messages) == 50
    for place in (*range(50), 31, 2, 49, 0, -1, -50):
        assert plain(here.messages[place]) == plain(there.messages[place])
    assert list(map(plain, here.messages)) == list(map(plain, there.messages))
    for cut in (slice(3, 9), slice(None, None, -7), slice(40, 99), slice(9, 3)):
        assert list(map(plain, here.messages[cut])) == list(map(plain, there.messages[cut]))


@pytest.mark.parametrize("place", [50, -51])
def test_a_place_outside_a_transcript_is_an_index_error(tmp_path: Path, place: int) -> None:
    messages = stored(tmp_path / "view", 50).messages
    for sequence in (messages, messages[:]):
        with pytest.raises(IndexError):
            sequence[place]


def test_a_stored_view_is_selected_as_one_in_memory(views: tuple[View, View]) -> None:
    here, there = views
    assert here.kinds == there.kinds == {"activations", "difference", "labels"}
    assert here.sample_ids() == there.sample_ids()
    for kind in ("activations", "gradient", "never crossed"):
        assert list(map(plain, here.of(kind))) == list(map(plain, there.of(kind)))
    assert list(map(plain, here.sent)) == list(map(plain, there.sent))
    assert list(map(plain, here.received)) == list(map(plain, there.received))


def test_views_cut_from_cut_and_shuffled_views_are_what_plain_lists_give(views: tuple[View, View]) -> None:
    def cut(view: View) -> Iterator[View]:
        generator = torch.Generator().manual_seed(1)
        yield view.without(frozenset({"difference"}))
        yield view.without(frozenset({"difference"})).without(frozenset({"labels"}))
        yield view.of_party("device-1").without(frozenset({"activations"}))
        yield view.shuffled(generator).without(frozenset({"labels"}))
        yield view.without(frozenset({"labels"})).shuffled(generator).of_party("device-0", "device-2")
        yield view.without(frozenset({"activations", "difference", "gradient", "labels"}))

    for here, there in zip(*map(cut, views), strict=True):
        assert list(map(plain, here.messages)) == list(map(plain, there.messages))
        assert here.kinds == there.kinds
        assert here.sample_ids() == there.sample_ids()


def test_picking_keeps_what_plain_comprehensions_keep() -> None:
    messages = sent(50)
    kept = pick(messages, lambda head: head.kind != "labels")
    assert list(kept) == [m for m in messages if m.kind != "labels"]
    again = pick(kept, lambda head: head.sender == "device-1")
    assert list(again) == [m for m in messages if m.kind != "labels" and m.sender == "device-1"]
    assert again.messages is messages


def test_heads_are_those_of_the_messages_that_are_there() -> None:
    messages = sent(50)
    assert heads_of(messages).present() == {Head(m.kind, m.sender, m.receiver) for m in messages}
    answers = pick(messages, lambda head: head.sender == "server")
    assert {head.kind for head in answers.heads.present()} == {"gradient"}
    assert heads_of([]).present() == set()
    assert list(heads_of([]).find(lambda head: True)) == []


def test_a_slice_of_a_transcript_is_no_copy_of_its_messages(tmp_path: Path) -> None:
    messages = stored(tmp_path / "view", 20).messages
    assert isinstance(messages, Stored)
    assert isinstance(messages[2:5], Picked)
    assert [m.step for m in messages[2:9][1:3]] == [m.step for m in sent(20)[3:5]]


def test_rows_read_no_tensor_of_a_later_pass_over_the_data() -> None:
    class Unread(dict[str, torch.Tensor]):
        def __getitem__(self, name: str) -> torch.Tensor:
            raise AssertionError(f"{name} was read")

    first = Message("labels", "device-0", "server", sample_ids=IDS, tensors={"labels": torch.arange(5)})
    view = View(PARTIES, [first, replace(first, round=1, tensors=Unread(labels=torch.zeros(5)))], {}, {})
    assert view.rows("labels", "labels")[1].tolist() == [0, 1, 2, 3, 4]
