"""PAE MobiLLM for language modelling: what it sends to the byte, what its server refuses."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidelight.system.cache.store import Store
from sidelight.system.errors import ProtocolError, UsageError
from sidelight.system.message import Message
from sidelight.system.protocols.pae_lm import PAELM, PAELMDevice, PAELMServer
from sidelight.system.protocols.pae_lm_rows import Sizes
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.side_network import SideShape

from ..contracts.micro import LABELS, VICTIM, Micro, Run, make_scene, record

SHORT = SideTraining(bottleneck=4, epochs=2, batch=4)
IDS = ("00" * 8, "01" * 8)
L, D, V, K = 2, 4, 20, 3
SIZES = Sizes(5, L, D, K, V)


def run(micro: Micro, **settings: object) -> Run:
    protocol = PAELM(side=SHORT, **settings)  # type: ignore[arg-type]
    return record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))


def test_every_token_behind_another_crosses_with_its_difference(micro: Micro) -> None:
    made = run(micro, entries=10_000)
    backbone = made.scene.backbone
    found: dict[str, torch.Tensor] = {}
    for message in made.messages:
        if message.kind == "difference":
            parts = message.tensors["values"].split(message.tensors["lengths"].tolist())
            found.update(zip(message.sample_ids, parts, strict=True))
    assert len(found) == len(VICTIM)
    for sample in VICTIM:
        ids = backbone.tokenizer(sample.text)["input_ids"]
        ids += backbone.token_ids(" topic:") + backbone.token_ids(f" {sample.label}.")
        with torch.no_grad():
            chances = backbone.model(torch.tensor([ids])).logits[0, :-1].softmax(1)
        goal = torch.zeros_like(chances).scatter(1, torch.tensor(ids[1:]).unsqueeze(1), 1.0)
        torch.testing.assert_close(found[sample.id], goal - chances, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("entries", "precision", "each"), [(4, "fp32", 4 * 6), (4, "fp16", 4 * 4), (1, "fp16", 4)])
def test_an_entry_costs_its_value_and_two_bytes(micro: Micro, entries: int, precision: str, each: int) -> None:
    made = run(micro, entries=entries, precision=precision)
    positions = sum(int(m.tensors["lengths"].sum()) for m in made.messages if m.kind == "difference")
    size = made.traffic.bytes["difference", DEVICE, SERVER]
    # beside them: 8 bytes of an id and of a length a sample, and the names of a message
    assert each * positions < size - 16 * len(VICTIM) < each * positions + 200 * len(made.messages)


def test_without_labels_nothing_follows_a_text_and_classes_can_still_be_asked(micro: Micro) -> None:
    made = run(micro, labelled=False)
    positions = sum(int(m.tensors["lengths"].sum()) for m in made.messages if m.kind == "difference")
    tokens = [made.scene.backbone.tokenizer(sample.text)["input_ids"] for sample in VICTIM]
    assert positions == sum(map(len, tokens)) - len(tokens)
    assert made.device.predict(["violin"]).shape == (1, len(LABELS))


def test_the_tuned_model_predicts_the_texts_better_than_the_backbone(micro: Micro) -> None:
    protocol = PAELM(side=replace(SHORT, bottleneck=16, epochs=20, learning_rate=1e-2), labelled=False)
    made = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    device, texts = made.device, [sample.text for sample in VICTIM]
    assert isinstance(device, PAELMDevice)
    untuned = protocol.device(made.scene, DEVICE)
    assert isinstance(untuned, PAELMDevice)
    untuned.take(protocol.servers(made.scene)[SERVER].held()["tuned"])
    assert device.quality(texts).perplexity < untuned.quality(texts).perplexity / 4


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="entries is 0; give at least 1"):
        PAELM(entries=0)
    with pytest.raises(UsageError, match="precision 'fp8' is none of"):
        PAELM(precision="fp8")  # type: ignore[arg-type]


# --- the server -----------------------------------------------------------------------------------------------------


def server(announce: bool = True) -> PAELMServer:
    made = PAELMServer(SideShape(L, D, 2, V), SHORT, Streams("seed"), SIZES)
    if announce:
        made.handle(Message("samples", DEVICE, SERVER, sample_ids=IDS))
    return made


def activations(lengths: tuple[int, ...] = (3, 1), **changed: torch.Tensor) -> Message:
    tensors = {
        "lengths": torch.tensor(lengths),
        "activations": torch.arange(sum(lengths) * L * D).sqrt().view(-1, L, D),
    }
    return Message("activations", DEVICE, SERVER, sample_ids=IDS, tensors={**tensors, **changed})


def difference(lengths: tuple[int, ...] = (3, 1), **changed: torch.Tensor) -> Message:
    rows = sum(lengths)
    indices = torch.arange(K, dtype=torch.int32).repeat(rows, 1)
    tensors = {"lengths": torch.tensor(lengths), "indices": indices, "values": torch.ones(rows, K)}
    return Message("difference", DEVICE, SERVER, sample_ids=IDS, tensors={**tensors, **changed})


def test_samples_of_several_lengths_train_and_go_on_from_a_durable_cache(tmp_path: Path) -> None:
    with closing(Store(tmp_path, 1 << 20, 1 << 20)) as store:
        whole, first, second = server(), server(), server(announce=False)
        for one in (first, second):
            one.keep_in(store.area(DEVICE).cache)
        for one in (whole, first):
            assert one.handle(difference()).kind == one.handle(activations()).kind == "ready"
            assert one.handle(Message("train", DEVICE, SERVER, round=0)).kind == "ready"
        second.load(first.state())
        for one in (whole, second):
            assert one.handle(Message("train", DEVICE, SERVER, round=1)).kind == "ready"
    tuned, resumed = whole.held()["tuned"], second.held()["tuned"]
    assert [name for name, tensor in tuned.items() if not torch.equal(tensor, resumed[name])] == []
    assert not torch.equal(tuned["out"], server().held()["tuned"]["out"])


def test_what_is_lost_is_wanted_again() -> None:
    made = server()
    made.handle(activations())
    answer = made.handle(Message("train", DEVICE, SERVER))
    assert (answer.kind, answer.sample_ids) == ("wanted", IDS)


def retold(lengths: torch.Tensor) -> Message:
    honest = activations()
    return replace(honest, tensors={**honest.tensors, "lengths": lengths})


INDICES = torch.arange(K).repeat(4, 1)
HOSTILE = {
    "places that repeat": (difference(indices=torch.zeros(4, K).int()), "not of rising places"),
    "a place beyond the vocabulary": (difference(indices=INDICES + V - K + 1), "not of rising places below 20"),
    "a negative place": (difference(indices=INDICES - 1), "not of rising places"),
    "places as fractions": (difference(indices=INDICES.float()), "rows of whole numbers"),
    "too few places": (difference(indices=INDICES[1:]), "not 4 rows of whole numbers"),
    "too few entries": (difference(values=torch.ones(4, K - 1)), "has the shape"),
    "values that are no numbers": (difference(values=torch.full((4, K), torch.nan)), "no numbers"),
    "values as whole numbers": (difference(values=torch.ones(4, K).long()), "whole numbers"),
    "lengths that do not add up": (activations(lengths=(3, 2), activations=torch.ones(4, L, D)), "do not share 4"),
    "too many positions": (activations((6, 1)), "more than the 5 positions agreed on"),
    "a length of none": (activations(lengths=(4, 0)), "do not share 4"),
    "lengths as fractions": (retold(torch.tensor([3.0, 1.0])), "do not share 4"),
    "too few lengths": (retold(torch.tensor([4])), "do not share 4"),
    "a layer too many": (activations(activations=torch.ones(4, L + 1, D)), "has the shape"),
    "a stranger's sample": (replace(activations(), sample_ids=(IDS[0], "02" * 8)), "were not announced"),
    "a sample twice": (replace(activations(), sample_ids=(IDS[0], IDS[0])), "names one twice"),
    "no samples": (Message("activations", DEVICE, SERVER, tensors=activations(()).tensors), "do not share 0"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_as_agreed_on_is_refused_and_not_kept(case: str) -> None:
    message, words = HOSTILE[case]
    made = server()
    with pytest.raises(ProtocolError, match=words):
        made.handle(message)
    made.handle(activations())
    made.handle(difference())
    assert made.handle(Message("train", DEVICE, SERVER)).kind == "ready"


@pytest.mark.parametrize("first", ["activations", "difference"])
def test_both_kinds_of_a_sample_have_the_same_positions(first: str) -> None:
    made, kinds = server(), (activations(), difference((2, 2)))
    honest, other = kinds if first == "activations" else kinds[::-1]
    made.handle(honest)
    with pytest.raises(ProtocolError, match="other values than before"):
        made.handle(other)
