"""A server that says it has lost what it has: what it sees more than an honest one, and what it cannot change."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.noise import Noise
from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message
from sidelight.system.protocols.deviating import DeviatingServer
from sidelight.system.protocols.once import LOSSES
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import DEVICE, SERVER

from ..contracts.micro import VICTIM, Micro, Run, make_scene, record

EPOCHS = 2
NOISY = (ActivationNoise(ratio=0.1), Noise(epsilon=8.0))


def protocol(**settings: Any) -> PAE:
    return PAE(side=SideTraining(bottleneck=8, epochs=EPOCHS, batch=12), defences=NOISY, **settings)


def deceived(micro: Micro, claims: int, **settings: Any) -> Run:
    made = protocol(**settings)
    scene = make_scene(micro.backbone("opt"))
    roles = made.roles(scene)
    return record(made, scene, {**roles, SERVER: DeviatingServer(roles[SERVER], claims)} if claims else roles)


def sendings(run: Run, kind: str) -> dict[str, list[bytes]]:
    """By sample what was sent of it, in order."""
    found: dict[str, list[bytes]] = {}
    for message in run.view().of(kind):
        for sample_id, row in zip(message.sample_ids, message.tensors[kind], strict=True):
            found.setdefault(sample_id, []).append(row.numpy().tobytes())
    return found


@pytest.mark.parametrize("kind", ["activations", "difference"])
def test_a_device_that_keeps_its_noise_sends_the_same_bytes_as_often_as_it_is_asked(micro: Micro, kind: str) -> None:
    sent = sendings(deceived(micro, claims=3), kind)
    assert sent.keys() == {row.id for row in VICTIM}
    assert {(len(rows), len(set(rows))) for rows in sent.values()} == {(4, 1)}


@pytest.mark.parametrize("kind", ["activations", "difference"])
def test_the_control_draws_noise_for_every_sending(micro: Micro, kind: str) -> None:
    sent = sendings(deceived(micro, claims=3, fresh_noise=True), kind)
    assert {(len(rows), len(set(rows))) for rows in sent.values()} == {(4, 4)}


def test_every_sending_with_noise_of_its_own_is_charged(micro: Micro) -> None:
    kept, fresh = deceived(micro, claims=3), deceived(micro, claims=3, fresh_noise=True)
    assert (kept.device.releases, fresh.device.releases) == (1, 4)
    promised = [run.protocol.budget(run.scene, run.device.releases) for run in (kept, fresh)]
    assert promised[0] is not None
    assert promised[1] is not None
    assert promised[0].epsilon == 8.0 < promised[1].epsilon


@pytest.mark.parametrize("fresh_noise", [False, True])
def test_what_is_trained_is_what_an_honest_server_trains(micro: Micro, fresh_noise: bool) -> None:
    """The first sending counts, so that no device can tell by its model."""
    lied, honest = (deceived(micro, claims, fresh_noise=fresh_noise) for claims in (5, 0))
    tuned, expected = (run.roles[SERVER].held()["tuned"] for run in (lied, honest))
    assert tuned.keys() == expected.keys()
    assert all(torch.equal(tuned[name], expected[name]) for name in expected)


def test_it_asks_no_more_often_in_an_epoch_than_a_device_bears(micro: Micro) -> None:
    most = protocol().most_resent
    assert most == EPOCHS * LOSSES
    asked = Counter(m.round for m in deceived(micro, claims=most).messages if m.kind == "wanted")
    assert asked == {0: LOSSES + 1, 1: LOSSES}  # the first list answers `samples`


def test_a_device_gives_up_on_a_server_that_claims_more(micro: Micro) -> None:
    class Shameless(DeviatingServer):
        def _trained(self, message: Message) -> Message:
            return self.answer_ids(message, "wanted", self._announced)

    made = protocol()
    scene = make_scene(micro.backbone("opt"))
    roles = made.roles(scene)
    with pytest.raises(ProtocolError, match="the server has lost samples of epoch 0 8 times"):
        record(made, scene, {DEVICE: roles[DEVICE], SERVER: Shameless(roles[SERVER], 1)})
