"""Each party alone meets what it met in the run: the same bytes, its own memory, its own computation."""

from __future__ import annotations

from io import BytesIO

import pytest
import torch

from sidelight.benchmarks.apart import Case, _built, costs, forked, unload
from sidelight.benchmarks.memory.resident import mark, peak, resident
from sidelight.benchmarks.replay import Past, keep, replay
from sidelight.system.data import Split as Parts
from sidelight.system.errors import ProtocolError, SidelightError
from sidelight.system.federation import FEDERATION
from sidelight.system.message import Message
from sidelight.system.protocols import Protocol
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.mesfl import MeSFL
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.protocols.split import Split
from sidelight.system.protocols.splitfed import SplitFed
from sidelight.system.roles import DEVICE, SERVER

from ..contracts.micro import LABELS, QUERIES, VICTIM, Micro, make_scene, record

LORA = LoraTraining(rank=2, epochs=2, batch=12)
SIDE = SideTraining(bottleneck=8, epochs=2, batch=12)


def case(micro: Micro, protocol: Protocol) -> Case:
    return Case(protocol, str(micro.folders["opt"]), Parts(VICTIM, QUERIES, (), (), LABELS), "the secret seed")


@pytest.mark.parametrize(
    "protocol",
    [
        PAE(side=SIDE),
        Split(lora=LORA, bottom="trainable", fleet=Fleet(2)),
        SplitFed(lora=LORA, fleet=Fleet(2)),
        MeSFL(lora=LORA, fleet=Fleet(2), cuts=(1, 2)),
    ],
    ids=lambda protocol: protocol.name,
)
def test_every_party_alone_sends_what_it_sent_in_the_run(micro: Micro, protocol: Protocol) -> None:
    run = record(protocol, make_scene(micro.backbone("opt"), "the secret seed", protocol))
    file = BytesIO()
    for message in run.messages:
        keep(file, message)
    for party in run.roles:
        file.seek(0)
        past = Past(party, file)
        replay(_built(case(micro, protocol), party), past)  # raises where a byte differs
        left = past.next_received()
        assert left is None or left.kind == "download"


def test_another_byte_than_in_the_run_is_told(micro: Micro) -> None:
    file = BytesIO()
    keep(file, Message("train", DEVICE, SERVER, round=1))
    file.seek(0)
    with pytest.raises(ProtocolError, match="device-0 sends another train alone than it sent in the run"):
        Past(DEVICE, file).check(Message("train", DEVICE, SERVER, round=2))


def test_costs_are_told_of_each_party_and_traffic_is_that_of_the_run(micro: Micro) -> None:
    protocol = SplitFed(lora=LORA, fleet=Fleet(2))
    found = costs(case(micro, protocol), (DEVICE, SERVER, FEDERATION))
    run = record(protocol, make_scene(micro.backbone("opt"), "the secret seed", protocol))
    assert found.uplink == sum(run.traffic.sent_by(party) for party in run.scene.samples) / len(VICTIM)
    assert found.downlink == sum(run.traffic.received_by(party) for party in run.scene.samples) / len(VICTIM)
    assert found.parties[SERVER].operations > found.parties[DEVICE].operations > 0
    assert found.parties[FEDERATION].operations == 0
    assert min(one.peak_bytes for one in found.parties.values()) > 0


def test_a_device_that_runs_more_blocks_computes_more_by_a_block(micro: Micro) -> None:
    one, two = (costs(case(micro, Split(lora=LORA, cut=cut)), (DEVICE,)).parties[DEVICE].operations for cut in (1, 2))
    assert two == 2 * one  # frozen blocks alone: an embedding is a look-up


def test_what_stands_above_the_cut_is_not_held(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    unload(backbone, 1)
    held = [next(block.parameters()).device.type for block in backbone.blocks]
    assert held == ["cpu", "meta", "meta"]


def test_memory_that_was_taken_is_in_the_peak_and_no_longer_resident() -> None:
    before = resident()
    mark()
    taken = torch.ones(16 << 20)  # 64 MiB
    del taken
    assert peak() - before >= 60 << 20
    assert resident() - before < 32 << 20


def test_a_process_that_fails_is_told_by_kind_and_place_without_words_that_may_be_private() -> None:
    def fails() -> dict[str, int]:
        raise ValueError("my card ends in 1234")

    with pytest.raises(SidelightError, match=r"failed: ValueError in test_apart\.py, line") as caught:
        forked(fails)
    assert "1234" not in str(caught.value)
