"""Memory-efficient SFL: cuts change nothing in what is trained, frozen weights stand once, and peers may misbehave."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from sidelight.system.adapters import above, below, joined
from sidelight.system.errors import UsageError
from sidelight.system.low_rank import trimmed
from sidelight.system.partial import ScoredTop, tuned_state
from sidelight.system.profiles import PROFILES, Profile
from sidelight.system.protocols import interleave
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.roles import SERVER, Device, device_name
from sidelight.system.wire import Wire

from ..contracts.micro import VICTIM, WIDTH, Micro, Run, make_scene, record
from ..contracts.variants import made
from .test_federation import joined_batches
from .test_unsplit import EPOCHS, Unsplit, trained_whole

A, B, C = (device_name(i) for i in range(3))
SHORT = LoraTraining(rank=2, epochs=2, batch=4)
SGD = LoraTraining(rank=2, epochs=EPOCHS, batch=4, learning_rate=0.5, rule="sgd")
TEXTS = [sample.text for sample in VICTIM]


def mesfl(**settings: Any) -> Any:
    return made("mesfl", {"lora": SHORT, "fleet": Fleet(3), "cuts": (1, 2, 1), **settings})


def recorded(micro: Micro, **settings: Any) -> Run:
    protocol = mesfl(**settings)
    return record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))


def tuned(run: Run) -> dict[str, torch.Tensor]:
    return dict(run.roles[SERVER].held()["tuned"])


# --- what is trained -------------------------------------------------------------------------------------------


def test_cuts_are_dealt_in_turn_and_each_device_sends_what_its_own_depth_gives(micro: Micro) -> None:
    run = recorded(micro, fleet=Fleet(4), cuts=(1, 2))
    cuts = [run.protocol.facts(run.scene, device_name(i))["layers"] for i in range(4)]
    assert cuts == [[1], [2], [1], [2]]
    found: Any = run.roles
    for i, (cut,) in enumerate(cuts):
        numbers = {name.split("layers.")[1][0] for name in tuned_state(found[device_name(i)]._bottom)}
        assert numbers == {str(block) for block in range(cut)}


@pytest.mark.parametrize("cuts", [(1,), (2,), (1, 2, 1)])
def test_one_local_step_of_equal_batches_is_a_step_on_the_joined_batch_whatever_the_cuts(
    micro: Micro, cuts: tuple[int, ...]
) -> None:
    """Every device's updates span all blocks, so the mean of steps is the step of the mean gradient, block by block."""
    protocol = mesfl(lora=SGD, every=1, cuts=cuts)
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    run = record(protocol, scene)
    held = run.roles[SERVER].held()
    start = {name.removeprefix("model."): t for name, t in held["start"].items() if "lora" in name}
    steps = joined_batches(scene)
    assert len(steps) == 20
    whole: Unsplit = trained_whole(protocol, scene, 1, start, steps)
    expected = {f"model.{name}": p.detach() for name, p in whole.model.named_parameters() if name in start}
    for name, value in {**expected, "head": whole.head, "bias": whole.bias}.items():
        torch.testing.assert_close(held["tuned"][name], value, atol=1e-5, rtol=1e-3)
    moved = {name.split("layers.")[1][0] for name, t in expected.items() if float((t - held["start"][name]).norm())}
    assert moved == {"0", "1", "2"}


@pytest.mark.parametrize("every", [0, 2])
def test_cuts_change_nothing_in_what_is_trained(micro: Micro, every: int) -> None:
    same, mixed = (recorded(micro, cuts=cuts, every=every) for cuts in ((1,), (2, 1)))
    for name, value in tuned(same).items():
        torch.testing.assert_close(tuned(mixed)[name], value, atol=1e-4, rtol=1e-3)


def test_the_order_of_service_changes_nothing_in_what_is_trained(micro: Micro) -> None:
    one, other = (recorded(micro, schedule=rule) for rule in ("arrival", "tail"))
    assert all(torch.equal(value, tuned(other)[name]) for name, value in tuned(one).items())


def test_devices_of_every_cut_end_with_the_one_set_that_the_server_holds(micro: Micro) -> None:
    run = recorded(micro, fleet=Fleet(3, 0.5), every=2)
    roles: Any = run.roles
    for party, cut in ((A, 1), (B, 2), (C, 1)):
        found = joined(roles[party].state(), roles[party]._top.state(), cut)
        assert found.keys() == tuned(run).keys()
        assert all(torch.equal(value, tuned(run)[name]) for name, value in found.items())
    first, *others = (role.predict(TEXTS) for role in run.roles.values() if isinstance(role, Device))
    for other in others:
        torch.testing.assert_close(first, other, atol=1e-4, rtol=0)


def test_parts_of_a_set_cut_anywhere_join_to_the_set() -> None:
    names = [f"model.layers.{i}.fc{j}.lora_A.default.weight" for i in range(12) for j in (1, 2)]
    whole = {name: torch.tensor(i) for i, name in enumerate([*names, "head", "bias"])}
    for cut in (1, 5, 11):
        bottom, top = below(whole, cut), above(whole, cut)
        assert (len(bottom), len(top)) == (2 * cut, 2 * (12 - cut) + 2)
        assert "model.layers.0.fc1.lora_A.default.weight" in top
        assert joined(bottom, top, cut) == whole


# --- devices by profile ----------------------------------------------------------------------------------------

SLOW_LINK = Profile("slow-link", memory=100, compute=1e12, uplink=1e5, downlink=1e5)
SLOW_CHIP = Profile("slow-chip", memory=100, compute=1e7, uplink=1e10, downlink=1e10)
"""For which a second rank is a twelfth more work; for the other, every fourth batch, hardly more to send."""


@pytest.fixture
def by_link(micro: Micro, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Three devices of two kinds, whose ranks differ."""
    for profile in (SLOW_LINK, SLOW_CHIP):
        monkeypatch.setitem(PROFILES, profile.name, profile)
    return recorded(micro, cuts=(), assign="link", profiles=("slow-chip", "slow-link"), every=4)


def test_ranks_follow_the_profiles_and_every_device_ends_with_its_part_of_the_mean_product(by_link: Run) -> None:
    ranks = [by_link.protocol.facts(by_link.scene, party)["rank"] for party in (A, B, C)]
    assert ranks == [1, 2, 1]
    roles: Any = by_link.roles
    for party, rank in zip((A, B, C), ranks, strict=True):
        found = joined(roles[party].state(), roles[party]._top.state(), 1)
        expected = trimmed(tuned(by_link), rank)
        for down in (name for name in expected if "lora_A" in name):
            assert found[down].shape == expected[down].shape
            up = down.replace("lora_A", "lora_B")
            torch.testing.assert_close(found[up] @ found[down], expected[up] @ expected[down], atol=1e-5, rtol=1e-3)
    texts = roles[B].predict(TEXTS)
    assert not torch.allclose(texts, roles[A].predict(TEXTS), atol=1e-3)
    assert torch.equal(roles[A].predict(TEXTS), roles[C].predict(TEXTS))


def test_memory_decides_how_many_blocks_a_device_holds(micro: Micro, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("small", "large"):
        monkeypatch.setitem(PROFILES, name, replace(SLOW_LINK, name=name))
    protocol = mesfl(cuts=(), assign="memory", profiles=("small", "large"))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    most = protocol.load_of(scene, A).memory
    monkeypatch.setitem(PROFILES, "small", replace(SLOW_LINK, name="small", memory=0.9 * most))
    assert [protocol.facts(scene, party)["cut"] for party in (A, B, C)] == [1, 2, 1]


@pytest.mark.parametrize(("rule", "first"), [("arrival", A), ("tail", B)])
def test_of_the_batches_that_wait_the_one_with_the_largest_modelled_tail_is_served_first(
    micro: Micro, rule: str, first: str
) -> None:
    run = recorded(micro, fleet=Fleet(2), profiles=("phone-high", "phone-low"), schedule=rule)
    ones = [m for m in run.messages if m.sender == SERVER and m.kind in ("gradient", "wait")][:2]
    told = [(m.receiver, m.kind) for m in ones]
    assert told == ([(A, "gradient"), (B, "gradient")] if first == A else [(A, "wait"), (B, "gradient")])


# --- the server's memory ---------------------------------------------------------------------------------------


def test_frozen_weights_stand_once_for_all_devices_and_cuts(micro: Micro) -> None:
    protocol = mesfl(fleet=Fleet(5))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    server: Any = protocol.roles(scene)[SERVER]
    alone = ScoredTop(scene.backbone, 1, 2, torch.zeros(6, WIDTH), "mean", torch.Generator())
    expected = sum(t.numel() for t in (*alone.parameters(), *alone.buffers()))
    found = server._model.tensors()
    assert sum(t.numel() for t in found) == expected
    assert len({t.data_ptr() for t in found}) == len(found)
    assert not any(t.requires_grad for t in found)
    updates = sum(t.numel() for t in below(server.held()["start"], 3).values())
    for party, part in server._parts.items():
        own = updates * (3 - protocol.cut_of(scene, party)) // 3 + 6 * (WIDTH + 1)
        assert sum(t.numel() for t in part.tuned.values()) == own


def test_one_graph_lives_at_a_time(micro: Micro) -> None:
    protocol = mesfl()
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    roles = protocol.roles(scene)
    server: Any = roles[SERVER]
    scores: Callable[..., torch.Tensor] = server._model.scores
    before: list[weakref.ref[torch.Tensor]] = []

    def watched(*inputs: Any) -> torch.Tensor:
        assert not any(found() is not None for found in before)
        made_now = scores(*inputs)
        before.append(weakref.ref(made_now))
        return made_now

    server._model.scores = watched
    interleave([role for role in roles.values() if isinstance(role, Device)], Wire(roles, lambda _: None))
    assert len(before) == 24
    assert all(p.grad is None for part in server._parts.values() for p in part.tuned.values())


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"cuts": (1, 3)}, "cuts holds 3; give 1 to 2"),
        ({"cuts": (0,)}, "cuts holds 0; give 1 to 2"),
        ({"bottom": "frozen"}, "leave bottom trainable"),
        ({"lora": LoraTraining(full=True)}, "lora.full false"),
        ({"assign": "memory", "profiles": ("jetson",)}, "give profiles, and no cut or cuts"),
        ({"assign": "memory", "profiles": ("jetson",), "cuts": (), "cut": 1}, "give profiles, and no cut or cuts"),
        ({"assign": "link", "cuts": ()}, "give profiles, and no cut or cuts"),
        ({"profiles": ("toaster",)}, "toaster"),
        ({"every": -1}, "every is -1"),
        ({"patience": 0}, "patience is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(micro: Micro, settings: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        recorded(micro, **settings)
