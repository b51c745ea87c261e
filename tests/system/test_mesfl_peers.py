"""Memory-efficient SFL before devices that vanish, come late, repeat themselves or lie: the others notice nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message
from sidelight.system.protocols import interleave
from sidelight.system.roles import SERVER, Device, device_name
from sidelight.system.wire import Wire

from ..contracts.micro import WIDTH, Micro, make_scene
from .test_federation import Late, Lost
from .test_mesfl import SHORT, TEXTS, A, B, C, mesfl


def run_with(micro: Micro, change: Callable[[Device], Device], **settings: Any) -> Any:
    """The roles after a run in which the second device is another."""
    protocol = mesfl(**{"patience": 50, **settings})
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    roles: Any = dict(protocol.roles(scene))
    roles[B] = change(roles[B])
    interleave([role for role in roles.values() if isinstance(role, Device)], Wire(roles, lambda _: None))
    return roles


def predictions(roles: Any) -> list[torch.Tensor]:
    return [roles[party].predict(TEXTS) for party in (A, C)]


def same(roles: Any, others: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(predictions(roles), predictions(others), strict=True))


def test_who_drops_out_leaves_the_others_as_if_it_had_never_come(micro: Micro) -> None:
    never, lost = run_with(micro, lambda device: Lost(device, 0)), run_with(micro, lambda device: Lost(device, 5))
    for roles in (never, lost):
        assert roles[SERVER].incidents() == {f"{B} absent": 1}
    assert same(never, lost)
    assert not same(never, run_with(micro, lambda device: device))


def test_who_was_given_up_on_joins_the_round_that_the_others_are_in(micro: Micro) -> None:
    roles = run_with(micro, lambda device: Late(device, 20), lora=replace(SHORT, epochs=3), every=1, patience=6)
    found = roles[SERVER].incidents()
    assert found[f"{B} absent"] >= 1
    assert 1 <= found[f"{B} stale"] <= 6  # of twelve updates
    first, second, third = (roles[party].predict(TEXTS) for party in (A, B, C))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    assert torch.equal(first, third)


def test_a_text_that_the_model_cannot_take_is_its_senders_loss_alone(micro: Micro) -> None:
    protocol = mesfl()
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    server = protocol.servers(scene)[SERVER]
    long, short = torch.zeros(5000, 1, WIDTH), torch.zeros(3, 1, WIDTH)
    for party, states in ((B, long), (A, short)):
        ids = (scene.samples[party][0].id,)
        tensors = {"activations": states, "lengths": torch.tensor([len(states)])}
        server.handle(Message("activations", party, SERVER, sample_ids=ids, tensors=tensors))
        server.handle(Message("labels", party, SERVER, sample_ids=ids, tensors={"labels": torch.tensor([0])}))
    answers = [server.handle(Message("gradient", A, SERVER)).kind for _ in range(2)]
    assert "gradient" in answers
    assert server.incidents() == {f"{B} malformed": 1}
    with pytest.raises(ProtocolError, match="has sent no batch"):
        server.handle(Message("gradient", B, SERVER))


class Lying(Lost):
    """A device that sends something beside what it should."""

    def __init__(self, inner: Device, before: Callable[[Message], Iterator[Message]], after: Any) -> None:
        super().__init__(inner, 0)
        self._before, self._after = before, after

    def work(self, wire: Wire) -> Iterator[None]:
        yield from self._inner.work(_Beside(wire, self._before, self._after))  # type: ignore[arg-type]


class _Beside:
    """A wire that carries other messages before and after each; what is refused is the liar's own affair."""

    def __init__(self, wire: Wire, before: Any, after: Any) -> None:
        self._wire, self._before, self._after = wire, before, after

    def request(self, message: Message) -> Message:
        self._all(self._before(message))
        answer = self._wire.request(message)
        self._all(self._after(message))
        return answer

    def _all(self, messages: Iterator[Message]) -> None:
        for message in messages:
            try:
                self._wire.request(message)
            except ProtocolError:
                continue


def nothing(_message: Message) -> Iterator[Message]:
    yield from ()


def changed(kind: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Any:
    def messages(message: Message) -> Iterator[Message]:
        if message.kind == kind:
            yield replace(message, tensors=change(dict(message.tensors)))

    return messages


LARGE = changed("update", lambda tensors: {name: t + 100 for name, t in tensors.items()})
WRONG = {
    "nan": changed("update", lambda tensors: {name: t * float("nan") for name, t in tensors.items()}),
    "other names": changed("update", lambda tensors: {**tensors, "head": torch.ones(6, WIDTH)}),
    "nothing": changed("update", lambda tensors: {}),
    "another shape": changed("update", lambda tensors: {name: t[:1] for name, t in tensors.items()}),
    "states": changed("activations", lambda tensors: {**tensors, "lengths": tensors["lengths"] + 1}),
}


def stale(message: Message) -> Iterator[Message]:
    if message.kind == "update":
        yield replace(message, round=message.round + 7)


@pytest.mark.parametrize(
    ("before", "after", "incidents"),
    [
        (nothing, LARGE, {"repeated": 1, "stale": 1}),  # once the first copy has ended the round
        (stale, nothing, {"stale": 2}),
        *((wrong, nothing, {"malformed": 8 if name == "states" else 2}) for name, wrong in WRONG.items()),
        (nothing, changed("labels", lambda tensors: tensors), {"repeated": 8}),
    ],
)
def test_what_no_honest_device_sends_changes_nothing_for_the_others_and_is_noted(
    micro: Micro, before: Any, after: Any, incidents: dict[str, int]
) -> None:
    honest = run_with(micro, lambda device: device)
    lying = run_with(micro, lambda device: Lying(device, before, after))
    assert honest[SERVER].incidents() == {}
    assert lying[SERVER].incidents() == {f"{B} {incident}": count for incident, count in incidents.items()}
    assert same(honest, lying)


def test_a_stranger_and_a_question_about_no_batch_are_refused(micro: Micro) -> None:
    protocol = mesfl()
    server = protocol.roles(make_scene(micro.backbone("opt"), protocol=protocol))[SERVER]
    with pytest.raises(ProtocolError, match="no device of this server"):
        server.handle(Message("gradient", device_name(3), SERVER))
    with pytest.raises(ProtocolError, match="sent no batch"):
        server.handle(Message("gradient", A, SERVER))
