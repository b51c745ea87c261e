"""The contract of every protocol: it sends what it declares, learns, repeats, and gives nothing away in its facts.

A protocol is covered by an entry in VARIANTS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from sidelight.system.errors import UsageError
from sidelight.system.message import Message, Party, encode
from sidelight.system.protocols import PROTOCOLS, Protocol, Scene, interleave
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.pae import PAE, PAEDevice
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import SERVER, Device, Role, Server
from sidelight.system.view import HELD
from sidelight.system.wire import Wire

from .micro import DEVICE, LABELS, VICTIM, Micro, Run, make_scene, record

SEED = "the secret seed"
SIDE = SideTraining(bottleneck=8, epochs=40, batch=12, learning_rate=2e-2)
SIDE_EACH_EPOCH = SideTraining(bottleneck=8, epochs=12, batch=12, learning_rate=2e-2)
LORA = LoraTraining(rank=2, epochs=6, batch=12, learning_rate=2e-2)
LEARNED = 0.75
"""Training accuracy that counts as learned; six balanced classes give 1/6 without learning."""


@dataclass(frozen=True)
class Variant:
    """A protocol with settings small enough for a test, and the backbone it runs on."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    family: str = "opt"

    def protocol(self) -> Protocol:
        return PROTOCOLS[self.name](**self.settings)

    def __str__(self) -> str:
        plain = [str(v) for v in self.settings.values() if isinstance(v, str | int | bool)]
        return "-".join([self.name, *plain, self.family])


def variants(name: str, training: Mapping[str, Any], *settings: Mapping[str, Any], **on: str) -> list[Variant]:
    return [Variant(name, {**training, **each}, **on) for each in settings]


VARIANTS = [
    *variants("local", {"lora": LORA, "side": SIDE}, {}, {"method": "side"}),
    *variants("local", {"side": SIDE}, {"method": "side", "difference": "logit"}, family="llama"),
    *variants("local", {"lora": LORA}, {"selector": "mean"}, family="llama"),
    *variants("pae", {"side": SIDE}, {}, {"difference": "logit"}, {"selector": "mean"}, {"prompt": ""}),
    *variants("pae", {"side": SIDE}, {"head": "linear"}, {"head": "linear", "secret_head": True}),
    *variants("pae", {"side": SIDE}, *({"precision": precision} for precision in ("fp16", "int8", "int4"))),
    # the Llama tokenizer opens texts with nothing, so the first position is the text's own
    *variants("pae", {"side": SIDE}, {"selector": "first"}, {"difference": "logit"}, family="llama"),
    *variants("mobillm", {"side": SIDE_EACH_EPOCH}, *({"precision": p} for p in ("fp32", "fp16", "int8", "int4"))),
    *variants("mobillm", {"side": SIDE_EACH_EPOCH}, {"selector": "mean"}, family="llama"),
    *variants("split", {"lora": LORA}, {}, {"cut": 1}, {"precision": "int8"}, {"bottom": "trainable"}),
    *variants("split", {"lora": LORA, "bottom": "trainable"}, *({"precision": p} for p in ("fp16", "int4"))),
    *variants("split", {"lora": LORA, "cut": 1}, {}, {"bottom": "trainable"}, family="llama"),
]

every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)


class Runs:
    """Runs made when first asked for, shared by the tests that only read them."""

    def __init__(self, micro: Micro) -> None:
        self._micro = micro
        self._made: dict[tuple[str, str], Run] = {}

    def of(self, variant: Variant) -> Run:
        key = (str(variant), SEED)
        if key not in self._made:
            self._made[key] = self.again(variant, SEED)
        return self._made[key]

    def again(self, variant: Variant, seed: str) -> Run:
        return record(variant.protocol(), self.scene(variant, seed))

    def scene(self, variant: Variant, seed: str = SEED) -> Scene:
        return make_scene(self._micro.backbone(variant.family), seed)


@pytest.fixture(scope="module")
def runs(micro: Micro) -> Runs:
    return Runs(micro)


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
    """Where the parties other than devices received or hold something else than the protocol declares."""
    shows = run.protocol.shows
    helpers = {party for party, role in run.roles.items() if not isinstance(role, Device)}
    found = [f"{party} is not declared" for party in sorted(helpers - set(shows))]
    for party, declared in shows.items():
        seen = {m.kind for m in run.messages if m.receiver == party}
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


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_names_its_source_and_file(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert protocol.title
    assert protocol.source
    assert protocol.__module__.rpartition(".")[2] == name


class Teller(PAEDevice):
    """Tells the server every class in a message of its own."""

    def work(self, wire: Wire) -> Iterator[None]:
        labels = torch.tensor(list(self._targets.values()))
        ids = tuple(self._targets)
        wire.request(Message("hint", self.party, SERVER, sample_ids=ids, tensors={"labels": labels}))
        yield from super().work(wire)


class Accomplice(Server):
    """Takes hints and hands the rest on."""

    def __init__(self, inner: Role) -> None:
        self._inner = inner

    def handle(self, message: Message) -> Message:
        return self.answer(message, "ready") if message.kind == "hint" else self._inner.handle(message)

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
    first, second = runs.of(variant), runs.again(variant, SEED)
    assert torch.equal(predictions(first), predictions(second))
    assert contents(first) == contents(second)
    other = runs.again(variant, "another seed")
    assert not torch.equal(predictions(first), predictions(other))
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
    roles = variant.protocol().roles(runs.scene(variant))
    wire = WatchedWire({party: Watched(role, given, made) for party, role in roles.items()}, heard.append)
    wire.given, wire.made = given, made
    interleave([role for role in roles.values() if isinstance(role, Device)], wire)
    assert len(made) == len(given) == len(heard)
    assert not memory(made) & (memory(given) | memory(heard))
    assert not any(t.requires_grad or t.grad is not None for m in heard for t in m.tensors.values())


@every_variant
def test_traffic_is_at_least_the_tensors_bytes(runs: Runs, variant: Variant) -> None:
    run = runs.of(variant)
    bits = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
    tensors = [(m, t) for m in run.messages for t in m.tensors.values()]
    least = sum(t.numel() * (bits[m.precision] if t.is_floating_point() else 64) // 8 for m, t in tensors)
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


def choices() -> list[tuple[str, str]]:
    """Every setting that takes one of a few names, of every protocol."""
    found = []
    for name, protocol in PROTOCOLS.items():
        hints = get_type_hints(protocol)
        found += [(name, f.name) for f in fields(protocol) if get_origin(hints[f.name]) is Literal]
    return found


@pytest.mark.parametrize(("name", "setting"), choices())
def test_a_value_that_a_setting_does_not_know_is_refused_with_the_right_ones(name: str, setting: str) -> None:
    known = get_args(get_type_hints(PROTOCOLS[name])[setting])
    with pytest.raises(UsageError) as refusal:
        PROTOCOLS[name](**{setting: "nonsense"})
    assert "nonsense" in str(refusal.value)
    assert all(value in str(refusal.value) for value in known)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_text_of_no_token_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="longest is 0; give at least 1 token"):
        PROTOCOLS[name](longest=0)


@pytest.mark.parametrize("cut", [0, 3, -1])
def test_a_cut_that_leaves_one_side_without_blocks_is_refused(runs: Runs, cut: int) -> None:
    variant = Variant("split", {"cut": cut})
    with pytest.raises(UsageError, match=f"cut is {cut}; give 1 to 2"):
        variant.protocol().roles(runs.scene(variant))


def test_sizes_below_one_are_refused() -> None:
    for make, what in (
        (lambda: SideTraining(batch=0), "batch"),
        (lambda: SideTraining(bottleneck=0), "bottleneck"),
        (lambda: LoraTraining(rank=0), "rank"),
        (lambda: LoraTraining(batch=-1), "batch"),
        (lambda: PAE(batch=0), "batch"),
    ):
        with pytest.raises(UsageError, match=f"^{what} is"):
            make()


def test_a_secret_verbaliser_is_refused() -> None:
    with pytest.raises(UsageError, match="head = linear with secret_head"):
        PAE(secret_head=True)


def test_a_secret_head_is_not_public_and_a_public_one_is_the_devices(runs: Runs) -> None:
    scene = runs.scene(VARIANTS[0])
    assert PAE(head="linear", secret_head=True).public_head(scene) is None
    shared = PAE(head="linear")
    head = shared.public_head(scene)
    assert head is not None
    torch.testing.assert_close(head, shared.head_weight(scene), rtol=0, atol=0)
    secret = PAE(head="linear", secret_head=True).head_weight(scene)
    assert not torch.equal(head, secret)
