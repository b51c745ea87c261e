"""The one door: decoded copies, exact counts, steps, order, and answers that come from whom they say."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sidelight.system.codec import through
from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message, encode
from sidelight.system.roles import SERVER, Role, Server
from sidelight.system.wire import Wire


class Echo(Server):
    """Answers with twice what came, and notes what that was."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.learning = False

    def handle(self, message: Message) -> Message:
        self.got.append(message)
        self.learning = torch.is_grad_enabled()
        return self.answer(message, "echo", **{name: 2 * t for name, t in message.tensors.items()})


class Liar(Role):
    """Answers as it was told to."""

    party = SERVER

    def __init__(self, make: Callable[[Message], Message]) -> None:
        self._make = make

    def handle(self, message: Message) -> Message:
        return self._make(message)


def activations(value: float = 0.3) -> Message:
    tensors = {"activations": torch.full((1, 4), value)}
    return Message(
        "activations", "device-0", SERVER, round=2, sample_ids=("ab" * 8,), tensors=tensors, precision="int8"
    )


def test_traffic_counts_the_bytes_that_crossed_by_kind_and_direction() -> None:
    server, heard = Echo(), list[Message]()
    wire = Wire({SERVER: server}, heard.append)
    for _ in range(3):
        wire.request(activations())
    sent = [len(encode(replace(activations(), step=step))) for step in range(3)]
    echo = Message(
        "echo", SERVER, "device-0", round=2, tensors={"activations": 2 * through(torch.full((1, 4), 0.3), "int8")}
    )
    answered = [len(encode(replace(echo, step=step))) for step in range(3)]
    assert wire.traffic.bytes == {
        ("activations", "device-0", SERVER): sum(sent),
        ("echo", SERVER, "device-0"): sum(answered),
    }
    assert set(wire.traffic.messages.values()) == {3}
    assert wire.traffic.sent_by("device-0") == wire.traffic.received_by(SERVER) == sum(sent)
    assert wire.traffic.received_by("device-0") == wire.traffic.sent_by(SERVER) == sum(answered)
    assert wire.traffic.sent_by("device-1") == 0


def test_receiver_and_listener_get_what_the_bytes_hold() -> None:
    server, heard = Echo(), list[Message]()
    sent = activations()
    answer = Wire({SERVER: server}, heard.append).request(sent)
    read = through(sent.tensors["activations"], "int8")
    assert not torch.equal(read, sent.tensors["activations"])
    assert torch.equal(server.got[0].tensors["activations"], read)
    assert torch.equal(heard[0].tensors["activations"], read)
    assert [m.kind for m in heard] == ["activations", "echo"]
    assert torch.equal(answer.tensors["activations"], 2 * read)
    assert answer.round == sent.round


def test_the_clock_tells_the_receivers_work_and_the_listeners_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def spend(seconds: float) -> None:
        now[0] += seconds

    class Slow(Echo):
        def handle(self, message: Message) -> Message:
            spend(2.0)
            return super().handle(message)

    monkeypatch.setattr(time, "process_time", lambda: now[0])
    wire = Wire({SERVER: Slow()}, lambda _: spend(0.5))
    for _ in range(3):
        spend(7.0)  # the sender's own
        wire.request(activations())
    assert dict(wire.served) == {SERVER: 6.0}
    assert wire.listened == 3.0  # it hears the request and the answer
    assert now[0] - wire.served[SERVER] - wire.listened == 21.0


def test_steps_count_each_kind_of_each_sender() -> None:
    heard: list[Message] = []
    wire = Wire({SERVER: Echo()}, heard.append)
    for message in (activations(), replace(activations(), sender="device-1"), activations(), activations()):
        wire.request(replace(message, step=77))
    assert [m.step for m in heard if m.kind == "activations"] == [0, 0, 1, 2]
    assert [m.step for m in heard if m.kind == "echo"] == [0, 1, 2, 3]


def test_a_gradient_never_crosses_and_the_receivers_mode_is_its_own() -> None:
    server = Echo()
    weights = torch.ones(1, 4, requires_grad=True)
    with torch.no_grad():
        answer = Wire({SERVER: server}, lambda _: None).request(replace(activations(), tensors={"x": weights}))
        assert not torch.is_grad_enabled()
    assert server.learning
    assert not server.got[0].tensors["x"].requires_grad
    assert not answer.tensors["x"].requires_grad
    with torch.no_grad():
        server.got[0].tensors["x"].zero_()
    assert weights.tolist() == [[1.0] * 4]


@pytest.mark.parametrize(("sender", "receiver"), [("device-1", "device-0"), (SERVER, "device-1"), (SERVER, SERVER)])
def test_an_answer_under_another_name_or_to_another_party_is_refused(sender: str, receiver: str) -> None:
    wire = Wire({SERVER: Liar(lambda _: Message("echo", sender, receiver))}, lambda _: None)
    with pytest.raises(ProtocolError, match="server answered as"):
        wire.request(activations())


def test_a_party_that_expects_no_message_refuses_it() -> None:
    class Silent(Role):
        party = "peer"

    wire = Wire({"peer": Silent()}, lambda _: None)
    with pytest.raises(ProtocolError, match="peer takes no message of kind 'activations'"):
        wire.request(replace(activations(), receiver="peer"))
    assert Silent().held() == {}
