"""Fed MobiLLM: one pass, nothing down, one network for backbones of several sizes, and a log that repeats a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from sidelight.audits.runs.adversary import adversary_of
from sidelight.audits.suites.threat import Threat
from sidelight.system.backbone import TINY
from sidelight.system.defences.rotate import Rotate
from sidelight.system.errors import UsageError
from sidelight.system.message import Message
from sidelight.system.protocols import Protocol, interleave
from sidelight.system.protocols.fedmobillm import FedMobiLLM, arrivals
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import SERVER, Device, device_name
from sidelight.system.side_network import PROJECT, from_state
from sidelight.system.wire import Wire

from ..contracts.micro import LABELS, VICTIM, Micro, Run, make_scene, record

A, B, C = (device_name(i) for i in range(3))
SIDE = SideTraining(bottleneck=8, epochs=3, batch=12, learning_rate=2e-2)
MIXED: dict[str, Any] = {"backbones": ("", TINY, ""), "depths": (3, 0, 2)}
"""A: three blocks of width 32; B: six of width 192; C: the first two of A's."""


def fed(devices: int = 3, **settings: Any) -> FedMobiLLM:
    return FedMobiLLM(**{"side": SIDE, "batch": 6, "fleet": Fleet(devices), **settings})


def ran(micro: Micro, protocol: Protocol, seed: str = "seed") -> Run:
    return record(protocol, make_scene(micro.backbone("opt"), seed, protocol))


def tuned(run: Run) -> dict[str, torch.Tensor]:
    return dict(run.roles[SERVER].held()["tuned"])


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(one[name], other[name]) for name in one)


# --- what crosses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("site", "told"), [("difference", "difference"), ("server", "labels")])
def test_each_sample_crosses_once_and_nothing_comes_back_before_the_download(
    micro: Micro, site: str, told: str
) -> None:
    run = ran(micro, fed(label_site=site, **MIXED))
    for kind in ("activations", told):
        crossed = Counter(i for m in run.messages if m.kind == kind for i in m.sample_ids)
        assert crossed == Counter(sample.id for sample in VICTIM)
    down = [(at, m) for at, m in enumerate(run.messages) if m.sender == SERVER and m.tensors]
    assert [m.kind for _, m in down] == ["tuned"] * 3
    assert max(at for at, m in enumerate(run.messages) if m.kind == told) < down[0][0]


def test_each_device_sends_one_state_a_tap_of_its_own_width_and_gets_its_own_projection(micro: Micro) -> None:
    run = ran(micro, fed(**MIXED))
    shapes = {(m.sender, tuple(m.tensors["activations"].shape[1:])) for m in run.messages if m.kind == "activations"}
    assert shapes == {(A, (2, 32)), (B, (2, 192)), (C, (2, 32))}
    projections = {
        m.receiver: {name: tuple(t.shape) for name, t in m.tensors.items() if name.startswith(PROJECT)}
        for m in run.messages
        if m.kind == "tuned"
    }
    assert projections == {
        A: {"project.backbone-0": (32, 192)},
        B: {"project.backbone-1": (192, 192)},
        C: {"project.backbone-0": (32, 192)},
    }
    assert sum(name.startswith(PROJECT) for name in tuned(run)) == 2


def test_a_pre_scaled_device_takes_its_own_prediction_from_its_own_last_block(micro: Micro) -> None:
    protocol = fed(2, depths=(2, 3), selector="last")
    run = ran(micro, protocol)
    backbone, head = run.scene.backbone, protocol.public_head(run.scene)
    assert head is not None
    sample = run.scene.samples[A][0]
    tokens = backbone.tokens([sample.text], protocol.longest, protocol.prompt)
    with torch.no_grad():
        last = backbone.model(input_ids=tokens.ids, output_hidden_states=True).hidden_states[2][0, -1]
        probabilities = (backbone.model.model.decoder.final_layer_norm(last) @ head.T).softmax(0)
    ids, sent = run.view().rows("difference", "difference")
    expected = torch.eye(len(LABELS))[LABELS.index(sample.label)] - probabilities
    torch.testing.assert_close(sent[ids.index(sample.id)], expected, atol=1e-5, rtol=0)


# --- training -------------------------------------------------------------------------------------------------


def test_one_whole_device_without_steps_on_arrival_trains_the_network_of_pae(micro: Micro) -> None:
    """Up to rounding: other texts go through the backbone together, so that they are padded otherwise."""
    one = ran(micro, fed(1, at_once=False))
    pae = ran(micro, PAE(side=SIDE, batch=6))
    torch.testing.assert_close(tuned(one), tuned(pae), atol=1e-4, rtol=0)
    texts = [sample.text for sample in VICTIM]
    torch.testing.assert_close(one.device.predict(texts), pae.device.predict(texts), atol=1e-4, rtol=0)
    assert differ(tuned(ran(micro, fed(1))), tuned(pae))


@pytest.mark.parametrize("site", ["difference", "server"])
def test_a_step_is_taken_at_once_on_every_arriving_batch_of_any_device(micro: Micro, site: str) -> None:
    """Without passes over the cache, the network is that of one step a message, taken here by hand."""
    protocol = fed(label_site=site, **MIXED, side=replace(SIDE, epochs=0))
    run = ran(micro, protocol)
    kinds, network = protocol.kinds(run.scene)[0], from_state(tuned(fresh(run)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=SIDE.learning_rate, weight_decay=SIDE.weight_decay)
    waiting: dict[tuple[str, ...], torch.Tensor] = {}
    for message in run.view().received:
        if message.kind == "activations":
            waiting[message.sample_ids] = message.tensors["activations"]
        elif message.kind in ("difference", "labels"):
            kind = kinds[int(message.sender[-1])]
            outputs = network(waiting[message.sample_ids], kind.projection)
            wanted = message.tensors[message.kind]
            loss = cross_entropy(outputs, wanted) if site == "server" else ((outputs - wanted) ** 2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, tuned(run)[name], atol=1e-5, rtol=1e-4)


def fresh(run: Run) -> Run:
    """The same parties before anything was said."""
    return replace(run, roles=run.protocol.roles(run.scene))


def test_a_batch_of_the_cache_mixes_kinds_and_counts_every_row_alike(micro: Micro) -> None:
    """One pass in one batch: a gradient step on the mean over all rows, taken here row by row."""
    everything = replace(SIDE, epochs=1, batch=len(VICTIM))
    protocol = fed(at_once=False, **MIXED, side=everything)
    run = ran(micro, protocol)
    kinds, network = protocol.kinds(run.scene)[0], from_state(tuned(fresh(run)))
    view = run.view()
    owners = {s.id: int(party[-1]) for party, rows in run.scene.samples.items() for s in rows}
    wanted = dict(zip(*view.rows("difference", "difference"), strict=True))
    optimizer = torch.optim.AdamW(network.parameters(), lr=SIDE.learning_rate, weight_decay=SIDE.weight_decay)
    for item in view.sequences():
        output = network(item.activations.view(1, 2, -1), kinds[owners[item.sample_id]].projection)[0]
        (((output - wanted[item.sample_id]) ** 2).sum() / len(VICTIM)).backward()
    optimizer.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, tuned(run)[name], atol=1e-4, rtol=1e-3)


# --- the order of arrival -------------------------------------------------------------------------------------


def test_speeds_decide_who_arrives_first_and_whoever_arrives_moves_the_network(micro: Micro) -> None:
    """Sixteen rows in three batches each: at one pace in turns, else B is done before A has sent its first."""
    even, uneven = ran(micro, fed()), ran(micro, fed(speeds=(0.25, 1.0, 0.5)))
    assert arrivals(even.messages) == (A, B, C) * 3
    assert arrivals(uneven.messages) == (B, B, C, B, A, C, C, A, A)
    assert differ(tuned(even), tuned(uneven))


def test_the_log_of_arrivals_repeats_the_run_bit_by_bit(micro: Micro) -> None:
    protocol = fed(speeds=(0.25, 1.0, 0.5), **MIXED)
    first = ran(micro, protocol)
    other = fed(**MIXED)  # knows nothing of the speeds
    roles = other.roles(first.scene)
    messages: list[Message] = []
    interleave(
        [r for r in roles.values() if isinstance(r, Device)], Wire(roles, messages.append), arrivals(first.messages)
    )
    assert arrivals(messages) == arrivals(first.messages)
    assert_same(dict(roles[SERVER].held()["tuned"]), tuned(first))
    assert differ(tuned(ran(micro, other)), tuned(first))


# --- devices of several kinds ---------------------------------------------------------------------------------


def test_devices_are_attacked_by_kind_and_those_of_another_backbone_not_at_all(micro: Micro) -> None:
    protocol = fed(5, **MIXED)
    scene = make_scene(micro.backbone("opt"), "seed", protocol)
    assert adversary_of(Threat(device=A), protocol, scene).devices == (A, device_name(3))
    assert adversary_of(Threat(device=C), protocol, scene).devices == (C,)
    with pytest.raises(UsageError, match="runs another backbone"):
        adversary_of(Threat(device=B), protocol, scene)
    facts = protocol.facts(scene, C)
    assert (facts["layers"], facts["depth"], facts["projection"]) == ([1, 2], 2, "backbone-0")
    assert protocol.facts(scene, A)["layers"] == [1, 3]


def test_a_folder_of_the_runs_own_backbone_is_that_backbone(micro: Micro) -> None:
    protocol = fed(2, backbones=("", str(micro.folders["opt"])))
    scene = make_scene(micro.backbone("opt"), "seed", protocol)
    assert protocol.facts(scene, A) == protocol.facts(scene, B)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"depths": ()}, "depths is empty"),
        ({"depths": (-1,)}, "depths holds -1"),
        ({"backbones": ()}, "backbones is empty"),
        ({"speeds": (1.0, 0.0)}, "speeds holds a number that is not above 0"),
        ({"width": -1}, "width is -1"),
        ({"patience": 0}, "patience is 0"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        fed(**settings)


def test_where_labels_cross_a_defence_of_the_difference_is_refused() -> None:
    with pytest.raises(UsageError, match="sends labels here, which rotate does not change"):
        fed(label_site="server", defences=(Rotate(),))
