"""The contract of every protocol: it sends what it declares, learns, repeats, and gives nothing away in its facts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from sidelight.system.message import Message, Party, encode
from sidelight.system.protocols import PROTOCOLS, Scene, interleave
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.pae_device import PAEDevice
from sidelight.system.roles import DEVICE, SERVER, Device, Role, Server
from sidelight.system.view import HELD
from sidelight.system.wire import Wire

from .micro import LABELS, VICTIM, Micro, Run, make_scene, record
from .variants import LEARNED, SEED, SIDE, VARIANTS, Runs, Variant, every_variant


def contents(run: Run) -> str:
    """A digest of everything that crossed, in order; float32 keeps every decoded value exactly."""
    digest = hashlib.sha256()
    for message in run.messages:
        digest.update(encode(replace(message, precision="fp32")))
    return digest.hexdigest()


def predictions(run: Run) -> torch.Tensor:
    return run.device.predict([sample.text for sample in VICTIM])


# --- what crosses ---------------------------------------------------------------------------------------------


def breaches(run: Run) -> list[str]:
    """Where the parties other than devices received or hold something else than the protocol declares.

    A message that steers the run need not be declared: one without tensors, and without sample ids or with those of all
    the sender's samples in an order that says nothing.
    """
    shows = run.protocol.shows
    helpers = {party for party, role in run.roles.items() if not isinstance(role, Device)}
    found = [f"{party} is not declared" for party in sorted(helpers - set(shows))]
    sent: dict[Party, set[str]] = {}
    for message in run.messages:
        if message.tensors:
            sent.setdefault(message.sender, set()).update(message.sample_ids)
    lists = {sender: tuple(sorted(ids)) for sender, ids in sent.items()}
    for party, declared in shows.items():
        received = [m for m in run.messages if m.receiver == party]
        seen = {m.kind for m in received if m.tensors or m.sample_ids not in ((), lists.get(m.sender))}
        seen |= {HELD + item for item in run.roles[party].held()}
        found += [f"{party} receives or holds {kind} undeclared" for kind in sorted(seen - declared)]
        found += [f"{party} never receives or holds {kind}" for kind in sorted(declared - seen)]
    return found


def test_every_protocol_has_a_variant_here() -> None:
    missing = set(PROTOCOLS) - {variant.name for variant in VARIANTS}
    assert not missing, f"add an entry to VARIANTS for: {', '.join(sorted(missing))}"


@every_variant
def test_parties_receive_and_hold_exactly_what_the_protocol_declares(runs: Runs, variant: Variant) -> None:
    assert breaches(runs.of(variant)) == []


@every_variant
def test_a_label_or_a_difference_is_the_same_whenever_it_is_sent_again(runs: Runs, variant: Variant) -> None:
    """A fresh draw of noise, or of a randomised label, would be another release."""
    sent: dict[tuple[str, str, str], list[torch.Tensor]] = {}
    for message in runs.short(variant).messages:
        if message.receiver == SERVER and message.kind in ("labels", "difference"):
            tensors = dict(message.tensors)
            sizes = tensors.pop("lengths", torch.ones(len(message.sample_ids), dtype=torch.int64)).tolist()
            for name, tensor in tensors.items():
                for sample_id, value in zip(message.sample_ids, tensor.split(sizes), strict=True):
                    sent.setdefault((message.kind, name, sample_id), []).append(value)
    assert all(torch.equal(value, values[0]) for values in sent.values() for value in values)
    crosses = {"labels", "difference"} & variant.protocol().shows.get(SERVER, frozenset())
    assert {kind for kind, _, _ in sent} == crosses


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_names_its_source_and_file(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert protocol.title
    assert protocol.source
    assert protocol.__module__.rpartition(".")[2] == name


class Teller(PAEDevice):
    """Tells the server every class, and which samples are hard, in messages of their own."""

    def work(self, wire: Wire) -> Iterator[None]:
        labels = torch.tensor(list(self._targets.values()))
        ids = tuple(self._targets)
        wire.request(Message("hint", self.party, SERVER, sample_ids=ids, tensors={"labels": labels}))
        wire.request(Message("hard", self.party, SERVER, sample_ids=ids[:3]))
        yield from super().work(wire)


class Accomplice(Server):
    """Takes hints and hands the rest on."""

    def __init__(self, inner: Role) -> None:
        self._inner = inner

    def handle(self, message: Message) -> Message:
        return self.answer(message, "ready") if message.kind in ("hint", "hard") else self._inner.handle(message)

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {**self._inner.held(), "notes": {}}


@dataclass(frozen=True)
class Cheat(PAE):
    """PAE MobiLLM that sends and keeps more than it declares, and declares more than it sends."""

    name: ClassVar[str] = "cheat"

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {SERVER: super().shows[SERVER] | {"rotation"}}

    def roles(self, scene: Scene) -> Mapping[Party, Role]:
        honest = super().roles(scene)
        return {SERVER: Accomplice(honest[SERVER]), DEVICE: Teller(DEVICE, self, scene, scene.samples[DEVICE])}


def test_the_check_catches_a_protocol_that_sends_keeps_or_declares_too_much(micro: Micro) -> None:
    run = record(Cheat(side=SIDE), make_scene(micro.backbone("opt")))
    assert breaches(run) == [
        "server receives or holds hard undeclared",
        "server receives or holds held:notes undeclared",
        "server receives or holds hint undeclared",
        "server never receives or holds rotation",
    ]


# --- what is learned ------------------------------------------------------------------------------------------


@every_variant
def test_the_device_ends_with_a_model_that_learned(runs: Runs, variant: Variant) -> None:
    run = runs.of(variant)
    scores = predictions(run)
    right = (scores.argmax(1) == run.scene.targets(VICTIM)).float().mean()
    assert scores.shape == (len(VICTIM), len(LABELS))
    assert scores.isfinite().all()
    assert float(right) >= LEARNED


@every_variant
def test_a_run_repeats_bit_by_bit_per_seed_and_differs_for_another(runs: Runs, variant: Variant) -> None:
    first, second, other = runs.short(variant), runs.afresh(variant, SEED), runs.afresh(variant, "another seed")
    assert torch.equal(predictions(first), predictions(second))
    assert contents(first) == contents(second)
    # what is not trained here was settled elsewhere
    assert torch.equal(predictions(first), predictions(other)) == (not variant.protocol().trains)
    assert (contents(first) != contents(other)) == bool(first.messages)


@every_variant
def test_predictions_do_not_depend_on_the_texts_beside_them(runs: Runs, variant: Variant) -> None:
    run = runs.of(variant)
    together = predictions(run)
    texts = [sample.text for sample in VICTIM]
    alone = torch.cat([run.device.predict([text]) for text in texts[:6]])
    across_chunks = run.device.predict([*texts[::-1], *texts])[len(texts) :]
    torch.testing.assert_close(alone, together[:6], atol=1e-4, rtol=0)
    torch.testing.assert_close(across_chunks, together, atol=1e-4, rtol=0)


# --- bytes only -----------------------------------------------------------------------------------------------


class Watched(Role):
    """A role that notes the tensors of the messages it is given and gives."""

    def __init__(self, inner: Role, given: list[Message], made: list[Message]) -> None:
        self.party, self._inner, self._given, self._made = inner.party, inner, given, made

    def handle(self, message: Message) -> Message:
        self._given.append(message)
        assert not any(t.requires_grad for t in message.tensors.values())
        answer = self._inner.handle(message)
        self._made.append(answer)
        return answer


class WatchedWire(Wire):
    """A wire that notes what devices send and get back."""

    given: list[Message]
    made: list[Message]

    def request(self, message: Message) -> Message:
        self.made.append(message)
        answer = super().request(message)
        self.given.append(answer)
        return answer


def memory(messages: list[Message]) -> set[int]:
    tensors = (t for m in messages for t in m.tensors.values() if t.numel())
    return {t.untyped_storage().data_ptr() for t in tensors}


@every_variant
def test_receivers_and_listeners_get_copies_that_share_nothing_with_the_sender(runs: Runs, variant: Variant) -> None:
    given: list[Message] = []
    made: list[Message] = []
    heard: list[Message] = []
    roles = variant.short().protocol().roles(runs.scene(variant))
    wire = WatchedWire({party: Watched(role, given, made) for party, role in roles.items()}, heard.append)
    wire.given, wire.made = given, made
    interleave([role for role in roles.values() if isinstance(role, Device)], wire)
    assert len(made) == len(given) == len(heard)
    assert not memory(made) & (memory(given) | memory(heard))
    assert not any(t.requires_grad or t.grad is not None for m in heard for t in m.tensors.values())


@every_variant
def test_traffic_is_at_least_the_tensors_bytes(runs: Runs, variant: Variant) -> None:
    run = runs.of(variant)
    bits = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4, "int2": 2}
    whole = {torch.int64: 64, torch.int32: 16}
    tensors = [(m, t) for m in run.messages for t in m.tensors.values()]
    least = sum(t.numel() * (whole[t.dtype] if t.dtype in whole else bits[m.precision]) // 8 for m, t in tensors)
    assert sum(run.traffic.bytes.values()) >= least
    assert sum(run.traffic.messages.values()) == len(run.messages)


# --- facts and settings ---------------------------------------------------------------------------------------


@every_variant
def test_facts_and_settings_are_plain_and_hold_no_truth(runs: Runs, variant: Variant) -> None:
    run = runs.of(variant)
    told = json.dumps([run.protocol.facts(run.scene), run.protocol.settings()], allow_nan=False)
    secrets = [SEED, *LABELS, *(s.text for s in VICTIM), *(s.id for s in VICTIM)]
    assert [secret for secret in secrets if secret in told] == []


@every_variant
def test_facts_do_not_depend_on_the_rows_or_the_seed(runs: Runs, variant: Variant) -> None:
    run = runs.of(variant)
    other = replace(runs.scene(variant, "another seed"), samples={DEVICE: VICTIM[:3]})
    assert run.protocol.facts(run.scene) == run.protocol.facts(other)
