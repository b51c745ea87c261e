"""Attacks on the released side network behind defences: what they decline, what they undo, what they imitate."""

from __future__ import annotations

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.evidence.members.challenged import challenged
from sidelight.audits.cells.applies import outside
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.defence import Defence
from sidelight.system.defences.label_dp import LabelDP
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.permute import Permute
from sidelight.system.defences.rotate import Rotate
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import SERVER

from ..contracts.conftest import micro
from ..contracts.goals import members_score
from ..contracts.leaks_members import challenged as planted_among
from ..contracts.micro import Micro
from ..contracts.planted import Planted, attacked, made

__all__ = ["micro"]

KEEN = SideTraining(bottleneck=32, epochs=60, batch=24, learning_rate=2e-2, weight_decay=0.0)


def behind(micro: Micro, *defences: Defence, epochs: int = 60) -> Planted:
    side = SideTraining(**{**vars(KEEN), "epochs": epochs})
    return planted_among(micro, made("pae", side=side, defences=defences), SERVER, ATTACKS["loss"]())


@pytest.mark.parametrize("defence", [Rotate, Permute])
def test_a_secret_key_is_declined_and_a_known_one_undone(micro: Micro, defence: type[Defence]) -> None:
    secret, known = behind(micro, defence(), epochs=1), behind(micro, defence(revealed=True))
    for name in ("loss", "lira", "rmia", "calibrated"):
        why = outside(ATTACKS[name](), frozenset({"held:tuned"}), secret.public.items, secret.public.facts)
        assert why is not None
        assert why.reason.startswith("difference_key is secret")
    assert members_score(attacked(known), known.truth) >= 0.99


def test_what_a_device_would_send_has_its_noise_and_its_redrawn_labels(micro: Micro) -> None:
    defences = (LabelDP(epsilon=1.0), Noise(epsilon=2.0, clip=1.0), ActivationNoise(epsilon=20.0))
    public = behind(micro, *defences, epochs=1).public
    own = challenged(public)
    drawn = [own.crossed(public, torch.Generator().manual_seed(seed)) for seed in range(40)]
    taps = torch.stack([sent[0] for sent in drawn]) - own.taps
    assert float(taps.std()) == pytest.approx(defences[2].deviation(own.taps.shape[1]), rel=0.02)
    targets = torch.stack([sent[1] for sent in drawn])
    # one label moves a difference by the root of two, the noise is for that, and redrawn labels add to it
    assert float(targets.std(0).mean()) > defences[1].deviation(2**0.5)
    kept = 2.718281828 / (2.718281828 + len(public.labels) - 1)
    assert public.facts["labels_redrawn"] == pytest.approx((1 - kept) * len(public.labels) / (len(public.labels) - 1))


def test_without_defences_what_would_be_sent_is_exact(micro: Micro) -> None:
    planted = behind(micro, epochs=1)
    own = challenged(planted.public)
    taps, targets = own.crossed(planted.public, torch.Generator().manual_seed(0))
    assert torch.equal(taps, own.taps)
    assert torch.equal(targets, own.targets)
    ids, sent = planted.view.rows("difference", "difference")
    assert len(ids) == 48
    nearest = torch.cdist(sent.double(), targets.double()).min(1).values
    assert float(nearest.max()) < 1e-5
