"""A server of many devices: who vanishes, comes back, repeats itself or lies moves nobody else, and is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message, decode, encode
from sidelight.system.protocols import interleave
from sidelight.system.protocols.fedmobillm import FedDevice, FedMobiLLM
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import SERVER, Device, Role, device_name
from sidelight.system.wire import Wire

from ..contracts.micro import LABELS, VICTIM, Micro, Run, make_scene, record

A, B, C = (device_name(i) for i in range(3))
SIDE = SideTraining(bottleneck=8, epochs=2, batch=12, learning_rate=2e-2)
STRANGE = "f" * 16
"""Id of no sample."""


def protocol(**settings: Any) -> FedMobiLLM:
    return FedMobiLLM(**{"side": SIDE, "batch": 6, "fleet": Fleet(3), "depths": (3, 2), **settings})


@pytest.fixture(scope="module")
def honest(micro: Micro) -> dict[str, Run]:
    made = {site: protocol(label_site=site) for site in ("difference", "server")}
    return {site: record(one, make_scene(micro.backbone("opt"), "seed", one)) for site, one in made.items()}


def sent(run: Run) -> list[Message]:
    """What the server received, in order."""
    return [m for m in run.messages if m.receiver == SERVER]


def served(run: Run, messages: Sequence[Message]) -> Role:
    """A fresh server after these messages, each through its bytes."""
    server = run.protocol.roles(run.scene)[SERVER]
    for message in messages:
        server.handle(decode(encode(message)))
    return server


def same(one: Role, other: Role) -> bool:
    mine, theirs = one.held()["tuned"], other.held()["tuned"]
    return all(torch.equal(mine[name], theirs[name]) for name in mine.keys() | theirs.keys())


def first(run: Run, party: str, kind: str) -> tuple[int, Message]:
    """A device's first message of a kind, with its place in what the server received."""
    return next((at, m) for at, m in enumerate(sent(run)) if (m.sender, m.kind) == (party, kind))


def test_the_server_alone_repeats_a_run_from_what_it_received(honest: dict[str, Run]) -> None:
    for run in honest.values():
        assert same(served(run, sent(run)), run.roles[SERVER])
        assert run.roles[SERVER].incidents() == {}


# --- what no honest device sends ------------------------------------------------------------------------------

Lie = Callable[[Message], Message]


def holding(kind: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Lie:
    return lambda m: replace(m, tensors={kind: change(m.tensors[kind])})


def poked(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: tensor.index_fill(0, torch.tensor([1]), value)


def renamed(ids: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Lie:
    return lambda m: replace(m, sample_ids=ids(m.sample_ids))


LIES: list[tuple[str, str, Lie]] = [
    ("activations", "a row less", holding("activations", lambda t: t[1:])),
    ("activations", "a tap more", holding("activations", lambda t: torch.cat([t, t[:, :1]], 1))),
    ("activations", "another width", holding("activations", lambda t: t[:, :, :16])),
    ("activations", "no dimension", holding("activations", lambda t: t.flatten())),
    ("activations", "no number", holding("activations", poked(float("nan")))),
    ("activations", "infinite", holding("activations", poked(float("inf")))),
    ("activations", "huge", holding("activations", poked(1e30))),
    ("activations", "integers", holding("activations", lambda t: t.long())),
    ("activations", "nothing", lambda m: replace(m, tensors={})),
    ("activations", "more tensors", lambda m: replace(m, tensors={**m.tensors, "more": torch.zeros(1)})),
    ("activations", "one id twice", renamed(lambda ids: (ids[0], *ids[:-1]))),
    ("activations", "no samples", lambda m: replace(m, sample_ids=(), tensors={"activations": torch.zeros(0, 2, 32)})),
    ("difference", "a class more", holding("difference", lambda t: torch.cat([t, t], 1))),
    ("difference", "no number", holding("difference", poked(float("nan")))),
    ("difference", "huge", holding("difference", poked(-1e30))),
    ("difference", "unknown ids", renamed(lambda ids: (STRANGE, *ids[1:]))),
    ("labels", "no class", holding("labels", lambda t: t + len(LABELS))),
    ("labels", "negative", holding("labels", lambda t: t - len(LABELS))),
    ("labels", "a fraction", holding("labels", lambda t: t.float())),
    ("labels", "a table", holding("labels", lambda t: t.unsqueeze(1))),
    ("labels", "unknown ids", renamed(lambda ids: (STRANGE, *ids[1:]))),
]


@pytest.mark.parametrize(("kind", "what", "lie"), LIES, ids=[f"{kind}: {what}" for kind, what, _ in LIES])
def test_a_lie_about_sizes_values_or_samples_changes_nothing_and_is_noted(
    honest: dict[str, Run], kind: str, what: str, lie: Lie
) -> None:
    run = honest["server" if kind == "labels" else "difference"]
    at, message = first(run, B, kind)
    before = sent(run)
    server = served(run, [*before[:at], lie(message), *before[at:]])
    assert same(server, run.roles[SERVER])
    assert server.incidents() == {f"{B} malformed": 1}


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("kind", ["activations", "difference"])
def test_a_repeated_batch_counts_once_as_it_first_came(honest: dict[str, Run], kind: str, other: bool) -> None:
    """Also where it says something else the second time, and also much later."""
    run = honest["difference"]
    at, message = first(run, A, kind)
    again = replace(message, tensors={kind: 2 * message.tensors[kind]}) if other else message
    before = sent(run)
    for later in (at + 1, at + 6):
        server = served(run, [*before[:later], again, *before[later:]])
        assert same(server, run.roles[SERVER])
        assert server.incidents() == {f"{A} repeated": 1}


def test_of_a_batch_that_overlaps_only_the_new_samples_are_taken(honest: dict[str, Run]) -> None:
    """A device that forgot how far it was sends old samples among new ones: as if it had sent the new alone."""
    run = honest["difference"]
    before = [m for m in sent(run) if m.sender == A]
    batch = {kind: [m for m in before if m.kind == kind] for kind in ("activations", "difference")}

    def joined(kind: str, rows: slice) -> Message:
        one, two = batch[kind][:2]
        tensor = torch.cat([one.tensors[kind], two.tensors[kind]])[rows]
        return replace(one, sample_ids=(*one.sample_ids, *two.sample_ids)[rows], tensors={kind: tensor})

    start = [batch["activations"][0], batch["difference"][0]]
    overlapping, new = ([joined(kind, rows) for kind in batch] for rows in (slice(3, None), slice(6, None)))
    server = served(run, [*start, *overlapping])
    assert same(server, served(run, [*start, *new]))
    assert server.incidents() == {f"{A} repeated": 2}


def test_a_device_that_names_anothers_samples_takes_nothing_from_it(honest: dict[str, Run]) -> None:
    """C, of A's kind, copies A's first batch under A's ids: both count, so A's own batches are still taken."""
    run = honest["difference"]
    at, message = first(run, A, "activations")
    copied = [replace(m, sender=C) for m in (message, first(run, A, "difference")[1])]
    before = sent(run)
    server = served(run, [*before[:at], *copied, *before[at:]])
    assert server.incidents() == {}
    done = [m for m in before if m.kind not in ("done", "download")]
    assert not same(served(run, [*done, *copied]), served(run, done))


def test_a_stranger_and_an_unknown_kind_are_refused(honest: dict[str, Run]) -> None:
    run = honest["difference"]
    server = served(run, ())
    with pytest.raises(ProtocolError, match="no device of this server"):
        server.handle(Message("activations", device_name(7), SERVER))
    for kind in ("train", "labels"):
        with pytest.raises(ProtocolError, match=f"no message of kind '{kind}'"):
            server.handle(Message(kind, A, SERVER))


# --- who vanishes ---------------------------------------------------------------------------------------------


class Vanishing(FedDevice):
    """Sends one batch and is gone; when it comes back, all are done."""

    def work(self, wire: Wire) -> Iterator[None]:
        yield next(super().work(wire))


@pytest.mark.parametrize("site", ["difference", "server"])
def test_who_vanishes_is_waited_for_as_long_as_stated_and_what_it_sent_is_kept(micro: Micro, site: str) -> None:
    patient = protocol(label_site=site, patience=5)
    scene = make_scene(micro.backbone("opt"), "seed", patient)
    roles = {**patient.roles(scene), B: Vanishing(B, patient, scene, scene.samples[B])}
    messages: list[Message] = []
    wire = Wire(roles, messages.append)
    interleave([role for role in roles.values() if isinstance(role, Device)], wire)
    server = roles[SERVER]
    assert server.incidents() == {f"{B} absent": 1}
    assert 5 <= sum(m.kind == "wait" for m in messages) <= 10  # A and C ask in turn
    # as if B had had no more than that batch, and said so
    told = [m for m in messages if m.receiver == SERVER and m.kind not in ("done", "download")]
    run = Run(patient, scene, roles, messages, wire.traffic)
    assert same(server, served(run, [*told, *(Message("done", party, SERVER) for party in (A, B, C))]))
    trained = server.held()["tuned"]
    late = next(m for m in told if m.sender == A)
    server.handle(replace(late, sender=B, sample_ids=(STRANGE, *late.sample_ids[1:])))
    assert server.incidents() == {f"{B} absent": 1, f"{B} stale": 1}
    assert server.handle(Message("download", B, SERVER)).kind == "tuned"
    assert all(torch.equal(tensor, server.held()["tuned"][name]) for name, tensor in trained.items())
    assert all(
        role.predict([VICTIM[0].text]).isfinite().all() for role in (roles[A], roles[C]) if isinstance(role, Device)
    )


def test_who_has_said_that_it_is_done_adds_nothing_more(honest: dict[str, Run]) -> None:
    run = honest["difference"]
    before = sent(run)
    at = first(run, A, "done")[0]
    late = replace(first(run, A, "activations")[1], sample_ids=(STRANGE,) * 6)
    server = served(run, [*before[: at + 1], late, *before[at + 1 :]])
    assert same(server, run.roles[SERVER])
    assert server.incidents() == {f"{A} stale": 1}


def test_who_has_not_sent_all_ends_nothing_however_often_it_asks(honest: dict[str, Run]) -> None:
    run = honest["difference"]
    before = sent(run)
    start = run.protocol.roles(run.scene)[SERVER]
    asking = [Message("download", B, SERVER)] * 20
    assert {start.handle(message).kind for message in asking} == {"wait"}
    assert same(served(run, [*asking, *before]), run.roles[SERVER])


def test_a_fleet_from_which_nothing_came_ends_with_the_network_it_began_with(honest: dict[str, Run]) -> None:
    run = honest["difference"]
    server = served(run, [Message("done", party, SERVER) for party in (A, B, C)])
    assert same(server, served(run, ()))
    assert server.handle(Message("download", A, SERVER)).kind == "tuned"
