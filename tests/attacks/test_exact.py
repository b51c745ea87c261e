"""What the matching of texts stands on: cells of codecs, the ranking, branches of a text, and twins of tokens."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, BloomConfig, BloomForCausalLM

from sidelight.attacks.evidence.positions.branching import Branching, told_positions
from sidelight.attacks.evidence.positions.cells import cells_of
from sidelight.attacks.evidence.positions.deviations import calibrate
from sidelight.attacks.evidence.positions.matching import Known, Recovered, Search
from sidelight.attacks.evidence.positions.ranking import fit, neighbours, ranked
from sidelight.attacks.reconstruction.match import Match
from sidelight.attacks.workbench import Workbench
from sidelight.system.backbone import load_backbone
from sidelight.system.codec import Precision, through
from sidelight.system.errors import UsageError
from sidelight.system.public import Example, Public

from ..contracts.micro import AUXILIARY, VICTIM, Micro

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "int4")
NOISE = 3e-7
"""Of sums of float32 products."""


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-5], ids=["ordinary", "small", "subnormal-scales"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_was_sent_lies_in_the_cells_of_what_was_received(precision: Precision, scale: float) -> None:
    sent = scale * torch.randn(50, 3, 150, generator=torch.Generator().manual_seed(0))
    assert cells_of(through(sent, precision), precision).distances(sent).max() < NOISE


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "int4"])
def test_values_just_inside_a_cell_are_sent_as_the_same_bytes_and_values_outside_as_others(
    precision: Precision,
) -> None:
    """All values but the largest of each run, which fix the scales, are moved towards and past an end."""
    sent = torch.randn(40, 150, generator=torch.Generator().manual_seed(1))
    received = through(sent, precision)
    cells = cells_of(received, precision)
    peaks = torch.cat([part.abs() == part.abs().amax(1, keepdim=True) for part in received.split(64, 1)], 1)
    for end in (cells.low, cells.high):
        inside = torch.where(peaks, sent, received + 0.99 * (end - received))
        assert torch.equal(through(inside, precision), received)
        outside = torch.where(peaks, sent, received + 1.01 * (end - received))
        same = through(outside, precision) == received
        assert torch.equal(same, peaks)


def test_another_scale_is_another_state_at_four_bits() -> None:
    """The largest value of a run is known to float16's precision, not to four bits."""
    sent = torch.randn(40, 64, generator=torch.Generator().manual_seed(2))
    received = through(sent, "int4")
    peaks = received.abs() == received.abs().amax(1, keepdim=True)
    alone = peaks.sum(1) == 1
    assert alone.any()
    distances = cells_of(received, "int4").distances(torch.where(peaks, 0.995 * sent, sent))
    assert (distances[alone] > NOISE).all()


@pytest.fixture(scope="module")
def bloom(micro: Micro, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(BloomForCausalLM, BloomConfig, micro, tmp_path_factory.mktemp("bloom"))


def saved(model: type, config: type, micro: Micro, folder: Path) -> Path:
    """A random model of another family with the micro backbones' tokenizer."""
    copytree(micro.folders["opt"], folder, dirs_exist_ok=True, ignore=lambda _, names: ["model.safetensors"])
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    vocabulary = micro.backbone("opt").vocabulary
    torch.manual_seed(3)
    model(config(vocab_size=vocabulary, initializer_range=0.2, **sizes)).save_pretrained(folder)
    return folder


def prepared_on(folder: Path, precision: Precision, layers: tuple[int, ...] = (1, 2)) -> Known:
    facts = {"precision": precision, "layers": list(layers), "longest": 48, "prompt": ""}
    public = Public(facts, ("",), str(folder), auxiliary=tuple(Example(s.text, "") for s in AUXILIARY))
    prepared = Match().prepare(public, torch.Generator(), Workbench())
    return Known(load_backbone(str(folder)), layers, precision, prepared)


@torch.no_grad()
def searched(known: Known, rows: list[list[int]], widest: int | None = None) -> list[Recovered]:
    backbone = known.backbone
    states = [backbone.activations(backbone.pad([row]))[0] for row in rows]
    search = Search(known, 4, widest or backbone.vocabulary)
    return search.texts([through(state, known.precision) for state in states], backbone.prefix)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_relative_positions_are_matched_and_certified_as_well(bloom: Path, precision: Precision) -> None:
    known = prepared_on(bloom, precision)
    rows = [[*known.backbone.prefix, *known.backbone.token_ids(sample.text)] for sample in VICTIM[:12]]
    assert not known.prepared["side_by_side"]
    opening = len(known.backbone.prefix)
    assert searched(known, rows) == [Recovered(tuple(row[opening:]), True) for row in rows]


def test_a_model_that_reads_ahead_is_refused(micro: Micro, tmp_path: Path) -> None:
    folder = saved(BertLMHeadModel, BertConfig, micro, tmp_path)
    backbone = load_backbone(str(folder))
    tokens = backbone.tokens([sample.text for sample in AUXILIARY[:8]], 48)
    with pytest.raises(UsageError, match="depend on later tokens"):
        calibrate(backbone, [1], tokens, "fp32")


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_branches_are_what_the_text_with_the_other_token_gives(micro: Micro, family: str) -> None:
    backbone = micro.backbone(family)
    assert told_positions(backbone)
    ids = torch.randint(3, backbone.vocabulary, (2, 9), generator=torch.Generator().manual_seed(4))
    places, tokens = torch.tensor([[1, 5, 8], [7, 2, 5]]), torch.tensor([[11, 12, 13], [14, 15, 16]])
    with torch.no_grad():
        for beside in (True, False):
            found = Branching(backbone, [1, 2], ids, beside).branches(places, tokens)
            for row, column in [(0, 0), (0, 2), (1, 0), (1, 1)]:
                text = ids[row].tolist()
                place = int(places[row, column])
                text[place] = int(tokens[row, column])
                expected = backbone.activations(backbone.pad([text]), 2)[0, place]
                torch.testing.assert_close(found[row, column], expected, rtol=1e-4, atol=1e-5)


def test_a_token_behind_the_opening_alone_ranks_first_where_context_adds_nothing_known(micro: Micro) -> None:
    """Two auxiliary states that say nothing: the ranking is then that of the lone states themselves."""
    backbone = micro.backbone("llama")
    with torch.no_grad():
        lone = backbone.activations(backbone.pad([[i] for i in range(backbone.vocabulary)]), 1)[:, 0, 0]
        prepared = fit(backbone, 1, lone[[5, 6]], torch.tensor([5, 6]))
    assert ranked(prepared, lone, 1).squeeze(1).tolist() == list(range(backbone.vocabulary))


def twinned(micro: Micro, folder: Path) -> tuple[Path, int, int]:
    """A model in which a token's embedding is a copy of another's."""
    backbone = micro.backbone("llama")
    word, copy = backbone.token_ids(VICTIM[0].text)[0], 250
    table = backbone.model.get_input_embeddings().weight
    with torch.no_grad():
        table[copy] = table[word]
    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    return folder, word, copy


def test_a_token_with_a_twin_is_never_certified_and_texts_without_it_are(micro: Micro, tmp_path: Path) -> None:
    folder, word, copy = twinned(micro, tmp_path)
    for precision in PRECISIONS:
        known = prepared_on(folder, precision)
        rows = [known.backbone.token_ids(sample.text) for sample in VICTIM[:24]]
        found = searched(known, rows)
        affected = [word in row or copy in row for row in rows]
        assert [row.sure for row in found] == [not one for one in affected]
        assert any(affected)
        assert not all(affected)
        assert neighbours(known.prepared, torch.tensor([word]), 1).tolist() == [[copy]]


def test_a_text_whose_deeper_layer_is_another_texts_is_not_certified(micro: Micro) -> None:
    known = prepared_on(micro.folders["opt"], "int4")
    backbone = known.backbone
    one, other = ([*backbone.prefix, *backbone.token_ids(VICTIM[row].text)][:4] for row in (0, 1))
    with torch.no_grad():
        states = backbone.activations(backbone.pad([one, other]), 2)
    mixed = torch.stack([states[0, :, 0], states[1, :, 1]], 1)
    assert one != other
    search = Search(known, 4, backbone.vocabulary)
    assert [row.sure for row in search.texts([through(mixed, "int4")], backbone.prefix)] == [False]
    assert [row.sure for row in search.texts([through(states[0], "int4")], backbone.prefix)] == [True]


def test_texts_of_many_lengths_come_back_in_their_order(micro: Micro) -> None:
    known = prepared_on(micro.folders["llama"], "fp32")
    sizes = [(0, 9), (3, 1), (7, 4)]
    texts = [" ".join(sample.text for sample in VICTIM[at : at + many]) for at, many in sizes]
    rows = [known.backbone.token_ids(text, 60) for text in texts]
    assert [list(row.tokens) for row in searched(known, rows)] == rows
