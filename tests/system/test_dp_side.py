"""The defence `dp-side`: how much noise a promise takes, and whom it is about."""

from __future__ import annotations

from typing import Any

import pytest

from sidelight.system.defences.decoy import Decoy
from sidelight.system.defences.dp_side import DPSide, noise_over_clip
from sidelight.system.errors import ProtocolError, UsageError
from sidelight.system.gaussian import epsilon_of, standard_deviation
from sidelight.system.message import Message
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import DEVICE, SERVER

from ..contracts.micro import VICTIM, Micro, make_scene, record
from ..contracts.planted import made


@pytest.mark.parametrize(("epsilon", "count"), [(0.5, 1), (8.0, 30)])
def test_without_sampling_the_noise_is_that_of_as_many_gaussian_releases(epsilon: float, count: int) -> None:
    wanted = standard_deviation(count**0.5, epsilon, 1e-5)
    assert wanted <= noise_over_clip(epsilon, 1e-5, 1.0, count) <= 1.03 * wanted


def test_sampling_needs_less_noise_than_steps_on_all_rows() -> None:
    assert noise_over_clip(2.0, 1e-5, 0.1, 50) < 0.5 * standard_deviation(50**0.5, 2.0, 1e-5)


def test_a_ratio_promises_no_more_than_steps_on_all_rows() -> None:
    told = DPSide(ratio=4.0).private_steps(rows=100, batch=20, epochs=3)
    assert (told.rate, told.expected, told.an_epoch, told.ratio) == (0.2, 20.0, 5, 4.0)
    assert told.promised.epsilon == pytest.approx(epsilon_of(15**0.5 / 4, 1e-5))


def test_the_promise_names_whom_it_is_about(micro: Micro) -> None:
    protocol = made("pae", defences=(DPSide(epsilon=2.0),), side=SideTraining(8, 2, batch=12))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    found = protocol.released_budget(scene)
    assert found is not None
    assert (found.epsilon, found.unit) == (2.0, "example")
    assert found.against == "those who receive the side network, not those who see what crosses"
    assert (protocol.budget(scene), protocol.example_budget(scene)) == (None, None)


def test_examples_made_of_other_examples_leave_no_promise(micro: Micro) -> None:
    protocol = made("pae", defences=(DPSide(ratio=1.0), Decoy(classes=0)))
    assert protocol.released_budget(make_scene(micro.backbone("opt"), protocol=protocol)) is None


def test_a_device_cannot_ask_for_more_than_was_accounted_for(micro: Micro) -> None:
    protocol = made("pae", defences=(DPSide(ratio=1.0),), side=SideTraining(8, 2, batch=12))
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    assert len(run.view().rows("activations", "activations")[0]) == len(VICTIM)
    with pytest.raises(ProtocolError, match="beyond the 2 that were agreed on"):
        run.roles[SERVER].handle(Message("train", DEVICE, SERVER, round=2))


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"epsilon": 21.0}, "protects nothing"), ({"clip": 0.0}, "the clip of dp-side"), ({"ratio": -1.0}, "the ratio")],
)
def test_settings_that_promise_nothing_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        DPSide(**settings)
