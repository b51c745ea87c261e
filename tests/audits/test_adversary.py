"""Whose view is attacked: one server, the other, both in collusion; and devices of one kind among several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.planning.fitting import refuse_absent, refuse_unheeded
from sidelight.audits.runs.adversary import adversary_of
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.suites.threat import Threat
from sidelight.system.errors import ProtocolError, UsageError
from sidelight.system.federation import FEDERATION
from sidelight.system.message import Message, Party
from sidelight.system.protocols import Scene
from sidelight.system.protocols.fedlora import FedLora
from sidelight.system.protocols.fedmobillm import FedMobiLLM
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.local import Local
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.pae import PAE as Pae
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.protocols.split import Split
from sidelight.system.protocols.splitfed import SplitFed
from sidelight.system.public import load_public
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.truth import load_truth

from ..contracts.micro import VICTIM, Micro, make_scene, record
from .small import PAE, Small, results, run_here

SHORT = LoraTraining(rank=2, epochs=1, batch=12)
FED = SplitFed(lora=SHORT, fleet=Fleet(2))
ADVERSARIES: tuple[Any, ...] = ("server", "federation", "server and federation")


@dataclass(frozen=True)
class Deeper(Split):
    """Devices of which every second one sends from one block further up."""

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        cut = 1 + int(device.rpartition("-")[2]) % 2
        return {**super().facts(scene, device), "cut": cut, "layers": [cut]}


DEEPER = Deeper(lora=SHORT, fleet=Fleet(4))


def test_each_party_is_shown_what_it_receives_and_holds_and_a_collusion_all_of_it() -> None:
    shown = [Threat(adversary=name).parties for name in ADVERSARIES]
    assert shown == [{SERVER}, {FEDERATION}, {SERVER, FEDERATION}]


def test_a_collusion_holds_what_each_party_holds(micro: Micro) -> None:
    run = record(FED, make_scene(micro.backbone("opt"), protocol=FED))
    held = [set(adversary_of(Threat(adversary=name), FED, run.scene).held(run.roles)) for name in ADVERSARIES]
    assert held == [{"tuned"}, {"start", "average"}, {"tuned", "start", "average"}]


@pytest.mark.parametrize("name", ADVERSARIES)
def test_all_that_reaches_a_party_is_declared_and_anything_else_is_refused(micro: Micro, name: Any) -> None:
    run = record(FED, make_scene(micro.backbone("opt"), protocol=FED))
    adversary = adversary_of(Threat(adversary=name), FED, run.scene)
    received = {message.kind for message in run.messages if message.tensors and message.receiver in adversary.parties}
    adversary.check_declared(FED, received, adversary.held(run.roles))
    with pytest.raises(ProtocolError, match="texts without declaring it"):
        adversary.check_declared(FED, {"texts"}, {})


def test_devices_of_one_kind_are_attacked_together(micro: Micro) -> None:
    scene = make_scene(micro.backbone("opt"), protocol=DEEPER)
    found = adversary_of(Threat(device="device-1"), DEEPER, scene)
    assert found.devices == ("device-1", "device-3")
    assert found.others == {"device-0", "device-2"}
    rows = [row.id for party in found.devices for row in scene.samples[party]]
    assert [row.id for row in found.rows(scene, VICTIM)] == [row.id for row in VICTIM if row.id in set(rows)]


def test_what_other_kinds_of_devices_send_and_receive_is_left_out(micro: Micro) -> None:
    found = adversary_of(Threat(device="device-1"), DEEPER, make_scene(micro.backbone("opt"), protocol=DEEPER))
    kept: list[Message] = []
    listener = found.listening(kept.append)
    for device in ("device-0", "device-1"):
        listener(Message("activations", device, SERVER))
        listener(Message("gradient", SERVER, device))
    assert {(message.sender, message.receiver) for message in kept} == {("device-1", SERVER), (SERVER, "device-1")}


def test_a_run_with_several_kinds_of_devices_asks_which_are_attacked(micro: Micro) -> None:
    scene = make_scene(micro.backbone("opt"), protocol=DEEPER)
    with pytest.raises(UsageError, match=r"device-1 is not like device-0; say in threat\.device"):
        adversary_of(Threat(), DEEPER, scene)
    with pytest.raises(UsageError, match="device of threat is 'device-9'; give one of device-0"):
        adversary_of(Threat(device="device-9"), DEEPER, scene)


def test_an_adversary_that_a_protocol_does_not_have_is_refused() -> None:
    federation = Threat(adversary="federation")
    refuse_absent(federation, FED)
    refuse_absent(Threat(), FED)
    with pytest.raises(UsageError, match=r"fedlora has no main server with these settings; .* = federation"):
        refuse_absent(Threat(), FedLora(lora=SHORT, fleet=Fleet(2)))
    refuse_absent(Threat(), Local(lora=SHORT))  # that nothing crosses is a finding
    for protocol in (Split(lora=SHORT), replace(FED, bottom="frozen")):
        with pytest.raises(UsageError, match="has no federation server with these settings"):
            refuse_absent(federation, protocol)


def test_a_server_that_claims_more_losses_than_devices_bear_is_refused() -> None:
    two = Pae(side=SideTraining(epochs=2))
    refuse_unheeded(Threat(behaviour="deviating", claimed_losses=16), two)
    for protocol, most in ((two, 16), (FedMobiLLM(), 0), (FED, 0)):
        with pytest.raises(UsageError, match=f"devices of {protocol.name} send again at most {most} times"):
            refuse_unheeded(Threat(behaviour="deviating", claimed_losses=17), protocol)


def test_an_adversary_that_has_the_texts_already_finds_which_is_whose(
    small: Small, workers: Workers, tmp_path: Path
) -> None:
    threat = 'attacks = ["retrieve"]\nthreat = { candidates = "mixed" }\n'
    assert run_here(small, tmp_path / "out", small.suite("mixed", PAE, threat), workers)[0]
    (run,) = (tmp_path / "out" / "runs").iterdir()
    public, truth = load_public(run / "public"), load_truth(run / "truth")
    own = [row.text for row in truth.rows]
    assert set(own) < set(public.candidates)
    assert list(public.candidates[: len(own)]) != own
    (found,) = (row for row in results(tmp_path / "out") if row["metric"] == "position_accuracy")
    assert (found["value"], found["threat"]["candidates"]) == (1, "mixed")
    assert found["blind_outsider"]["value"] < 0.5
