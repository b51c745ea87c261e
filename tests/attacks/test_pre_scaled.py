"""Attacks on a device that runs only the first blocks: its own last block takes the place of the backbone's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import LabelGuess
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import SERVER, device_name
from sidelight.system.view import View

from ..contracts.micro import Micro, make_scene, record
from ..contracts.planted import Planted, Truth, attacked, made

SHALLOW = device_name(1)
SIDE = SideTraining(bottleneck=8, epochs=2, batch=12)


def against_the_shallow_one(micro: Micro, attack: str, **settings: Any) -> Planted:
    """What the server saw of the device with two of three blocks, as an audit of its kind gives it."""
    protocol = made("fedmobillm", side=SIDE, fleet=Fleet(2), depths=(3, 2), **settings)
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    messages = [m for m in run.messages if SHALLOW in (m.sender, m.receiver)]
    view = View(frozenset({SERVER}), messages, run.roles[SERVER].held(), {})
    public = replace(run.public(micro.folders["opt"]), facts=protocol.public_facts(run.scene, SHALLOW))
    own = {sample.id for sample in run.scene.samples[SHALLOW]}
    truth = Truth({i: label for i, label in run.labels().items() if i in own}, {})
    return Planted(view, public, truth, protocol, ATTACKS[attack]())


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        ("sign", {}),
        ("addback", {"difference": "logit"}),
        ("addback", {"difference": "logit", "selector": "last", "prompt": ""}),
        ("posterior", {"difference": "logit"}),
        ("plaintext", {"label_site": "server"}),
    ],
)
def test_every_label_is_read_off_what_it_sends(micro: Micro, attack: str, settings: dict[str, Any]) -> None:
    planted = against_the_shallow_one(micro, attack, **settings)
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    assert dict(zip(guess.ids, guess.labels.tolist(), strict=True)) == planted.truth.labels
