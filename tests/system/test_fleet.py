"""Rows dealt to several devices, and devices that take turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pytest
import torch

from sidelight.system.errors import UsageError
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.randomness import Streams
from sidelight.system.roles import SERVER, Device, device_name

from ..contracts.micro import LABELS, VICTIM, Micro, make_scene, record
from ..contracts.variants import LORA, made

STREAMS = Streams("a seed")


@pytest.mark.parametrize("alpha", [0.0, 0.05, 1.0, 100.0])
@pytest.mark.parametrize("devices", [1, 5, len(VICTIM)])
def test_every_row_has_one_owner_and_every_device_a_row(devices: int, alpha: float) -> None:
    dealt = Fleet(devices, alpha).deal(VICTIM, STREAMS)
    assert list(dealt) == [device_name(i) for i in range(devices)]
    assert min(map(len, dealt.values())) >= 1
    assert Counter(sample.id for rows in dealt.values() for sample in rows) == Counter(s.id for s in VICTIM)


def test_rows_dealt_evenly_differ_by_one_at_most_and_follow_the_seed() -> None:
    sizes = [len(rows) for rows in Fleet(5).deal(VICTIM, STREAMS).values()]
    assert max(sizes) - min(sizes) <= 1
    assert Fleet(5).deal(VICTIM, STREAMS) == Fleet(5).deal(VICTIM, STREAMS)
    assert Fleet(5).deal(VICTIM, STREAMS) != Fleet(5).deal(VICTIM, Streams("another"))


def test_the_smaller_the_concentration_the_fewer_classes_a_device_has() -> None:
    def classes(alpha: float) -> float:
        found = [Fleet(4, alpha).deal(VICTIM, Streams(str(seed))) for seed in range(20)]
        return sum(len({s.label for s in rows}) for dealt in found for rows in dealt.values()) / (4 * len(found))

    assert classes(0.05) < classes(0.5) < classes(100.0)
    assert classes(0.05) < 3
    assert classes(100.0) == len(LABELS)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"devices": 0}, "devices is 0"),
        ({"alpha": -1.0}, "alpha is -1"),
        ({"alpha": float("inf")}, "alpha is inf"),
        ({"alpha": float("nan")}, "alpha is nan"),
    ],
)
def test_fleets_that_make_no_sense_are_refused(settings: dict[str, float], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Fleet(**settings)  # type: ignore[arg-type]


def test_more_devices_than_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="devices is 3 and there are 2 rows"):
        Fleet(3).deal(VICTIM[:2], STREAMS)


@pytest.mark.parametrize("name", ["split", "ushape"])
def test_devices_take_turns_and_end_with_one_model(micro: Micro, name: str) -> None:
    protocol = made(name, {"lora": LORA, "bottom": "trainable", "fleet": Fleet(3)})
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    turns = [m.sender for m in run.messages if m.kind == "activations"]
    assert [sender for sender, _ in groupby(turns)] == [device_name(i) for i in range(3)] * LORA.epochs
    texts = [sample.text for sample in VICTIM]
    devices = [role for role in run.roles.values() if isinstance(role, Device)]
    first, *others = (device.predict(texts) for device in devices)
    assert all(torch.equal(first, other) for other in others)
    assert not any(m.kind == "turn" for m in run.view(SERVER).messages)


# --- participation -----------------------------------------------------------------------------------------------

PARTIES = ("device-0", "device-1", "device-2", "device-3")


def test_a_share_of_the_devices_is_drawn_anew_for_each_round() -> None:
    drawn = Fleet(4, participation=0.5).rounds(PARTIES, Streams("a seed"))
    rounds = [drawn(number) for number in range(30)]
    assert {len(one) for one in rounds} == {2}
    assert frozenset().union(*rounds) == frozenset(PARTIES)
    assert len(set(rounds)) > 1
    assert Fleet(4, participation=0.5).rounds(PARTIES, Streams("a seed"))(7) == rounds[7]


def test_all_take_part_by_default_and_one_does_at_least() -> None:
    assert Fleet(4).rounds(PARTIES, Streams("a seed"))(3) == frozenset(PARTIES)
    assert len(Fleet(4, participation=0.01).rounds(PARTIES, Streams("a seed"))(3)) == 1


@pytest.mark.parametrize("name", ["splitfed", "mesfl", "fedlora"])
def test_only_the_devices_of_a_round_send_updates_and_all_go_on_from_the_average(micro: Micro, name: str) -> None:
    protocol = made(name, {"lora": LORA, "fleet": Fleet(4, participation=0.5)})
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    drawn = Fleet(4, participation=0.5).rounds(PARTIES, run.scene.streams)
    for number in range(LORA.epochs):
        sent = {m.sender for m in run.messages if m.kind == "update" and m.round == number}
        assert sent == drawn(number)
    assert all(not role.incidents() for role in run.roles.values())
    texts = [sample.text for sample in VICTIM[:4]]
    first, *others = (role.predict(texts) for role in run.roles.values() if isinstance(role, Device))
    assert all(torch.allclose(first, other, atol=1e-6) for other in others)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("split", {}),
        ("splitlora", {}),
        ("splitfed", {"every": 2}),
        ("splitfed", {"version": "v2", "bottom": "frozen"}),
        ("fedmobillm", {}),
    ],
)
def test_participation_without_rounds_of_a_pass_is_refused(name: str, settings: Mapping[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"participation is 0\.5; give 1, or a protocol with averages"):
        made(name, {**settings, "fleet": Fleet(4, participation=0.5)})
    with pytest.raises(UsageError, match="participation is 0; give a share above 0"):
        Fleet(4, participation=0)
