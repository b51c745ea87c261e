"""Audits of promises: none that is kept is called broken, and every planted bug is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from sidelight.audits.compiling.kept import promises_kept
from sidelight.audits.privacy import canaries, local
from sidelight.audits.privacy.auditing import audited
from sidelight.audits.privacy.promises import EXAMPLE, LABEL, Promise
from sidelight.audits.proofs import privacy
from sidelight.audits.proofs.privacy import found_of, promised
from sidelight.audits.proofs.privacy_mistakes import BROKEN, KEPT, Case, OfForgetful, OfFresh
from sidelight.system import files
from sidelight.system.backbone import TINY, Backbone, load_backbone
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.label_dp import LabelDP
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.project import Project
from sidelight.system.defences.secret_head import SecretHead
from sidelight.system.gaussian import epsilon_of
from sidelight.system.message import Party
from sidelight.system.protocols import Protocol, Scene
from sidelight.system.protocols.fedmobillm import FedMobiLLM
from sidelight.system.protocols.local import Local, LocalSide
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.pae_device import PAEDevice
from sidelight.system.protocols.ushape import UShape
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE, Device

from ...contracts.micro import LABELS, Micro, make_scene
from ...contracts.planted import made

named = pytest.mark.parametrize("case", [pytest.param(case, id=case.told) for case in KEPT])
bugs = pytest.mark.parametrize("case", [pytest.param(case, id=case.told) for case in BROKEN])


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """Audits do not run it: its head and its sizes are what matters."""
    return load_backbone(TINY)


@named
def test_a_promise_that_is_kept_is_not_called_broken(case: Case, backbone: Backbone) -> None:
    """Twenty seeds of each are proved by `python -m sidelight.audits.proofs.privacy`."""
    found = found_of(case, backbone, 0)
    assert found.epsilon_low <= promised(case, backbone) < found.epsilon_most


@bugs
def test_a_planted_bug_is_seen(case: Case, backbone: Backbone) -> None:
    assert found_of(case, backbone, 0).epsilon_low > promised(case, backbone)


@pytest.mark.parametrize("key", [(), (Project(width=5),), (SecretHead(),)])
def test_canaries_of_an_example_lie_as_far_apart_as_the_accountant_allows(micro: Micro, key: tuple[Any, ...]) -> None:
    """Each layer 2 C after clipping behind each device's own keys, one of the two beyond the clip before."""
    protocol = PAE(defences=(ActivationNoise(epsilon=2.0, clip=0.7), *key, Noise(epsilon=1e-3)))
    promise = Promise(EXAMPLE, protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    keys = set()
    for found in canaries.drawn(promise, local.example_sides, Streams("audit"), 1500):
        shown = [found.device.cover.shown(side.states.unsqueeze(0))[0] for side in found.sides]
        torch.testing.assert_close((shown[0] - shown[1]).norm(dim=1), torch.full((3,), 1.4))
        assert [float(side.states.norm(dim=1).mean()) for side in found.sides] == pytest.approx([0.7, 2.1])
        keys.add(round(float(found.sides[0].states.sum()), 4))
    assert len(keys) == (2 if key else 1)


@pytest.mark.parametrize(("kind", "spread"), [(OfForgetful, 0.5), (OfFresh, 1.0), (PAE, 1.0)])
def test_what_costs_nothing_is_read_as_often_as_it_is_sent(micro: Micro, kind: type[PAE], spread: float) -> None:
    """The mean over four sends of kept noise is as noisy as one; what the promise does not cover is left aside."""
    protocol = kind(defences=(Noise(epsilon=1.0),))
    promise = Promise(LABEL, protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    (found,) = canaries.drawn(promise, local.label_sides, Streams("audit"), 500)
    told = canaries.sent(found)["difference"]
    deviation = Noise(epsilon=1.0).deviation(2**0.5)
    of_one = torch.stack([told[found.coins == coin].std(0) for coin in (True, False)])
    assert float(of_one.mean()) == pytest.approx(spread * deviation, rel=0.1)


def test_a_promise_of_several_releases_is_read_over_as_many(micro: Micro) -> None:
    protocol = OfFresh(defences=(Noise(epsilon=1.0),))
    promise = Promise(LABEL, protocol, make_scene(micro.backbone("opt"), protocol=protocol), releases=2)
    (found,) = canaries.drawn(promise, local.label_sides, Streams("audit"), 500)
    told = canaries.sent(found)["difference"][found.coins]
    assert float(told.std(0).mean()) == pytest.approx(Noise(epsilon=1.0).deviation(2**0.5) / 2**0.5, rel=0.1)


def test_an_audit_changes_nothing_of_the_run(micro: Micro) -> None:
    """Streams of the run are at their start, and what its own device makes is what it would have made."""
    protocol = PAE(defences=(Noise(epsilon=1.0),))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    made = []
    for before in (False, True):
        if before:
            audited(protocol, scene, 1, scene.streams.of("privacy audits"))
        device = protocol.device(scene, DEVICE)
        assert isinstance(device, PAEDevice)
        samples = scene.samples[DEVICE]
        device.make(samples)
        made.append(device._kept.rows(device.told, [sample.id for sample in samples]))
    assert torch.equal(*made)


def test_every_promise_stands_beside_its_audit(micro: Micro) -> None:
    protocol = PAE(defences=(ActivationNoise(epsilon=4.0), Noise(epsilon=1.0)))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    found = audited(protocol, scene, 1, Streams("audit"))
    assert (found["budget"]["unit"], found["example_budget"]["unit"], found["released_budget"]) == (
        "label",
        "example",
        None,
    )
    for name in ("budget", "example_budget"):
        shown, delta = found[name]["audit"], found[name]["delta"]
        assert shown["epsilon_low"] == pytest.approx(epsilon_of(shown["mu_low"], delta))
        assert 0 < shown["epsilon_low"] < found[name]["epsilon"]
    again = audited(protocol, scene, 4, Streams("audit"))
    assert again["budget"]["epsilon"] > found["budget"]["epsilon"]
    assert audited(replace(protocol, defences=()), scene, 1, Streams("audit")) == dict.fromkeys(found)


@pytest.mark.parametrize("name", ["split", "splitfed", "mesfl", "mobillm"])
def test_labels_that_cross_in_clear_are_read_off_the_devices_own_messages(micro: Micro, name: str) -> None:
    protocol = made(name, defences=(LabelDP(2.0),))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    found = audited(protocol, scene, 1, Streams("audit"))["budget"]["audit"]
    assert 1.3 < found["epsilon_low"] <= 2.0 < found["epsilon_most"]


class OfAnother(PAE):
    """A plug-in's protocol, with devices of its own."""

    def device(self, scene: Scene, party: Party) -> Device:
        return LocalSide(party, Local(), scene, scene.samples[party])


@pytest.mark.parametrize("protocol", [UShape(defences=(LabelDP(2.0),)), OfAnother(defences=(LabelDP(2.0),))])
def test_a_promise_that_no_auditor_fits_is_recorded_without_an_audit(micro: Micro, protocol: Protocol) -> None:
    found = audited(protocol, make_scene(micro.backbone("opt"), protocol=protocol), 1, Streams("audit"))
    assert (found["budget"]["epsilon"], found["budget"]["audit"]) == (2.0, None)


@pytest.mark.parametrize("site", ["difference", "server"])
def test_devices_of_a_fleet_are_audited_by_their_own_code(micro: Micro, site: str) -> None:
    settings: dict[str, Any] = {"label_site": site, "defences": (LabelDP(2.0),)}
    protocol = FedMobiLLM(**settings)
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    found = audited(protocol, scene, 1, Streams("audit"))["budget"]
    assert 1.3 < found["audit"]["epsilon_low"] <= 2.0
    assert len(LABELS) > 2


@pytest.mark.parametrize(("low", "kept"), [(1.9, True), (2.1, False), (None, True)])
def test_a_promise_is_broken_by_a_bound_above_it(tmp_path: Path, low: float | None, kept: bool) -> None:
    promised = {"epsilon": 2.0, "audit": None if low is None else {"epsilon_low": low}}
    for run, about in (("a", {"budget": None}), ("b", {"budget": None, "released_budget": promised})):
        (tmp_path / "runs" / run).mkdir(parents=True)
        files.write_json(tmp_path / "runs" / run / "run.json", about)
    assert promises_kept(tmp_path, ["a", "b", "never recorded"]) is kept


def test_the_proof_fails_on_a_false_alarm_a_weak_audit_and_a_bug_that_is_not_seen() -> None:
    console = Console(quiet=True)
    kept = [privacy.Outcome(case, 1.0, 3.0, (0.5, 0.9)) for case in KEPT]
    broken = [privacy.Outcome(case, 1.0, 3.0, (1.5, 2.0)) for case in BROKEN]
    assert privacy.report([*kept, *broken], console)
    assert not privacy.report([*kept[1:], replace(kept[0], found=(0.5, 1.1)), *broken], console)
    assert not privacy.report([*kept[1:], replace(kept[0], most=1.0), *broken], console)
    assert not privacy.report([*kept, *broken[1:], replace(broken[0], found=(1.5, 0.9))], console)
