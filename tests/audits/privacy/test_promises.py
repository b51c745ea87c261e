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
from sidelight.audits.proofs import privacy
from sidelight.audits.proofs.privacy import bound, scene_of
from sidelight.audits.proofs.privacy_mistakes import BROKEN, KEPT, Case
from sidelight.system import files
from sidelight.system.backbone import TINY, Backbone, load_backbone
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.noise import Noise
from sidelight.system.gaussian import epsilon_of
from sidelight.system.protocols.fedmobillm import FedMobiLLM
from sidelight.system.protocols.pae import PAE, PAEDevice
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE

from ...contracts.micro import LABELS, Micro, make_scene

named = pytest.mark.parametrize("case", [pytest.param(case, id=case.told) for case in KEPT])
bugs = pytest.mark.parametrize("case", [pytest.param(case, id=case.told) for case in BROKEN])


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """Audits do not run it: its head and its sizes are what matters."""
    return load_backbone(TINY)


@named
def test_a_promise_that_is_kept_is_not_called_broken(case: Case, backbone: Backbone) -> None:
    """Twenty seeds of each are proved by `python -m sidelight.audits.proofs.privacy`."""
    assert bound(case, backbone, 0) <= case.promised(scene_of(backbone, 0)).epsilon


@bugs
def test_a_planted_bug_is_seen(case: Case, backbone: Backbone) -> None:
    assert bound(case, backbone, 0) > case.promised(scene_of(backbone, 0)).epsilon


def test_canaries_of_an_example_lie_as_far_apart_as_the_accountant_allows(micro: Micro) -> None:
    """Each layer 2 C after clipping, one of the two beyond the clip before."""
    protocol = PAE(defences=(ActivationNoise(epsilon=2.0, clip=0.7), Noise(epsilon=1e-3)))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    device = protocol.device(scene, DEVICE)
    assert isinstance(device, PAEDevice)
    sides = local.example_sides(protocol, scene)
    shown = [device.cover.shown(side.states.unsqueeze(0))[0] for side in sides]
    torch.testing.assert_close((shown[0] - shown[1]).norm(dim=1), torch.full((3,), 1.4))
    assert [float(side.states.norm(dim=1).mean()) for side in sides] == pytest.approx([0.7, 2.1])


def test_what_is_sent_again_is_read_as_it_was(micro: Micro) -> None:
    """The mean over four sends of kept noise is as noisy as one."""
    protocol = PAE(defences=(Noise(epsilon=1.0),))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    side = canaries.Side(torch.zeros(3, 32), 0)
    (found,) = canaries.drawn(protocol, scene, (side, side), Streams("audit"), 500)
    crossed = canaries.sent(found, 4)["difference"]
    deviation = Noise(epsilon=1.0).deviation(2**0.5)
    assert float(crossed.std(0).mean()) == pytest.approx(deviation, rel=0.1)


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
        made.append(torch.stack([told for _, told in device._made(scene.samples[DEVICE])]))
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


@pytest.mark.parametrize("site", ["difference", "server"])
def test_devices_of_a_fleet_are_audited_by_their_own_code(micro: Micro, site: str) -> None:
    settings: dict[str, Any] = {"label_site": site, "defences": (KEPT[5].protocol.defences)}
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


def test_the_proof_fails_on_a_false_alarm_and_on_a_bug_that_is_not_seen() -> None:
    console = Console(quiet=True)
    kept = [privacy.Outcome(case, 1.0, (0.5, 0.9)) for case in KEPT]
    broken = [privacy.Outcome(case, 1.0, (1.5, 2.0)) for case in BROKEN]
    assert privacy.report([*kept, *broken], console)
    assert not privacy.report([*kept[1:], replace(kept[0], found=(0.5, 1.1)), *broken], console)
    assert not privacy.report([*kept, *broken[1:], replace(broken[0], found=(1.5, 0.9))], console)
