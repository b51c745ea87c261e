"""Backbones of the common families: decoders and encoders, their pivots, and PAE MobiLLM upon each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BertConfig

from sidelight.system.anatomy import embeddings, find_blocks, find_final_norm, is_causal
from sidelight.system.backbone import Backbone
from sidelight.system.errors import UsageError
from sidelight.system.fusion import pivot_activations
from sidelight.system.heads import HEAD_KINDS, verbaliser
from sidelight.system.partial import FULL, Top
from sidelight.system.protocols import PROTOCOLS, Scene
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE
from sidelight.system.selector import Selector, select

from ..contracts.families import BLOCKS, ENCODERS, FAMILIES, POSITIONS, WIDTH, load_family
from ..contracts.micro import LABELS, VICTIM, record

TEXTS = [sample.text for sample in VICTIM[:6]]
SHORT = SideTraining(bottleneck=4, epochs=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(params=FAMILIES)
def backbone(request: pytest.FixtureRequest, root: Path) -> Backbone:
    return load_family(request.param, root)


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest, root: Path) -> Backbone:
    return load_family(request.param, root)


def fitting(backbone: Backbone) -> Selector:
    """The paper's choice for such a backbone."""
    return "last" if backbone.causal else "first"


def scene_of(backbone: Backbone) -> Scene:
    return Scene(backbone, LABELS, {DEVICE: VICTIM[:6]}, Streams("a secret seed"))


# --- what a backbone is ---------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_backbone_is_causal_where_no_token_sees_a_later_one(backbone: Backbone) -> None:
    """By what it computes: the first token's states with another last token."""
    assert backbone.causal == (backbone.name not in ENCODERS)
    first = backbone.activations(backbone.pad([[5, 6, 7], [5, 6, 8]]))[:, 0, -1]
    assert torch.allclose(first[0], first[1], atol=1e-6) == backbone.causal


def test_sizes_are_those_of_the_configuration(backbone: Backbone) -> None:
    assert (len(backbone.blocks), backbone.width, backbone.vocabulary) == (
        BLOCKS,
        WIDTH,
        backbone.model.config.vocab_size,
    )


@torch.no_grad()
def test_activations_are_transformers_own_hidden_states(backbone: Backbone) -> None:
    """Of each text alone, without padding: right padding changes an encoder's states by rounding only, too."""
    tokens = backbone.tokens(TEXTS, 48, " topic:")
    assert len(set(tokens.mask.sum(1).tolist())) > 1
    found = backbone.activations(tokens)
    for row, length in enumerate(tokens.mask.sum(1).tolist()):
        own = backbone.model(input_ids=tokens.ids[row : row + 1, :length], output_hidden_states=True).hidden_states
        for block in range(1, BLOCKS):
            torch.testing.assert_close(found[row, :length, block - 1], own[block][0], atol=2e-5, rtol=2e-5)


@torch.no_grad()
def test_the_output_matrix_reads_what_the_model_itself_would(backbone: Backbone) -> None:
    """A decoder's normed state or an encoder's transformed one, times the matrix, plus the bias where there is one."""
    tokens = backbone.tokens(TEXTS[:1], 48)
    head = backbone.model.get_output_embeddings()
    expected = backbone.model(input_ids=tokens.ids, attention_mask=tokens.mask).logits
    ready = backbone.final_norm(backbone.activations(tokens)[:, :, -1])
    found = ready @ backbone.output_matrix().T + (0 if head.bias is None else head.bias)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_an_encoders_transform_holds_the_models_own_weights(encoder: Backbone) -> None:
    states = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = encoder.final_norm(states)
        for parameter in encoder.model.get_output_embeddings().parameters():
            parameter.zero_()
        torch.testing.assert_close(encoder.final_norm(states), before)  # it ends before the matrix
        for parameter in encoder.model.parameters():
            parameter.zero_()
        assert not encoder.final_norm(states).any()


def test_an_encoders_text_stands_between_its_special_tokens(encoder: Backbone) -> None:
    ids, mask = encoder.tokens([TEXTS[0], ""], 3, " topic:")
    tail = encoder.token_ids(" topic:")
    assert (encoder.prefix, encoder.suffix) == ([0], [2])
    assert ids[0].tolist() == [0, *encoder.token_ids(TEXTS[0])[:3], *tail, 2]
    assert ids[1, : mask[1].sum()].tolist() == [0, *tail, 2]


@torch.no_grad()
def test_the_longest_text_that_is_let_in_runs(backbone: Backbone) -> None:
    around = len(backbone.prefix) + len(backbone.suffix)
    backbone.require_room(POSITIONS - around, "")
    backbone.activations(backbone.framed([[5] * (POSITIONS - around)]))
    with pytest.raises(UsageError, match=f"give at most {POSITIONS - around}"):
        backbone.require_room(POSITIONS - around + 1, "")


# --- pivots ---------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("layers", [None, [2], [3, 1]])
def test_pivots_are_the_selected_rows_of_activations_bit_for_bit(backbone: Backbone, layers: list[int] | None) -> None:
    tokens = backbone.tokens(TEXTS, 48, " topic:")
    picked = list(range(BLOCKS)) if layers is None else [layer - 1 for layer in layers]
    for selector in (fitting(backbone), "mean"):
        expected = select(backbone.activations(tokens), tokens.mask, selector)[:, picked]
        assert torch.equal(backbone.pivots(tokens, selector, layers), expected)


# --- protocols ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [False, True])
def test_pae_runs_end_to_end(backbone: Backbone, pooled: bool) -> None:
    """What crosses are the pivots, and the device predicts with the backbone's own share."""
    protocol = PAE(selector="mean" if pooled else fitting(backbone), side=SHORT, batch=3)
    scene = scene_of(backbone)
    run = record(protocol, scene)
    crossed = {
        i: row
        for m in run.messages
        if m.kind == "activations"
        for i, row in zip(m.sample_ids, m.tensors["activations"], strict=True)
    }
    with torch.no_grad():
        pivots = pivot_activations(backbone, TEXTS, protocol.longest, protocol.prompt, protocol.selector)
    received = torch.stack([crossed[sample.id] for sample in VICTIM[:6]])
    torch.testing.assert_close(received, pivots, atol=2e-5, rtol=2e-5)
    side = run.roles["server"].held()["tuned"]
    assert run.device.predict(TEXTS).shape == (6, len(LABELS))
    assert side
    assert protocol.public_facts(scene)["attention"] == ("causal" if backbone.causal else "bidirectional")


@torch.no_grad()
def test_an_encoder_with_a_narrow_output_matrix_is_read_there(root: Path) -> None:
    """Of both heads, which read what the transform makes of the states; and the matrix gives the model's own logits."""
    backbone = load_family("electra", root)
    tokens = backbone.tokens(TEXTS[:2], 4)
    expected = backbone.model(input_ids=tokens.ids, attention_mask=tokens.mask).logits
    ready = backbone.final_norm(backbone.activations(tokens)[:, :, -1])
    assert ready.shape[-1] == backbone.head_width == 16
    bias = backbone.model.get_output_embeddings().bias
    torch.testing.assert_close(ready @ backbone.output_matrix().T + bias, expected, atol=1e-4, rtol=1e-4)
    for head in HEAD_KINDS:
        run = record(PAE(selector="first", head=head, side=SHORT, batch=3), scene_of(backbone))
        assert run.device.predict(TEXTS).shape == (6, len(LABELS))


def test_the_verbaliser_reads_the_label_words_rows(encoder: Backbone) -> None:
    matrix = encoder.model.get_output_embeddings().weight
    rows = torch.stack([matrix[encoder.token_ids(" " + label)].mean(0) for label in LABELS])
    torch.testing.assert_close(verbaliser(encoder, LABELS), rows - rows.mean(0))


@torch.no_grad()
@pytest.mark.parametrize("cut", [1, 2])
def test_the_blocks_above_a_cut_end_where_a_head_begins(backbone: Backbone, cut: int) -> None:
    """Frozen, they give what the whole backbone gives behind its norm or transform."""
    tokens = backbone.tokens(TEXTS, 48, " topic:")
    states = backbone.activations(tokens)
    top = Top(backbone, cut, 0, torch.Generator())
    kept = tokens.mask.bool()
    found, expected = top(states[:, :, cut - 1], tokens.mask), backbone.final_norm(states[:, :, -1])
    torch.testing.assert_close(found[kept], expected[kept], atol=2e-5, rtol=2e-5)


def test_tuned_whole_an_encoders_top_holds_its_transform_and_no_words(encoder: Backbone) -> None:
    """The transform is two matrices' worth: a square map and a norm, each with its bias."""
    top = Top(encoder, BLOCKS - 1, FULL, torch.Generator())
    last = {id(p) for p in find_blocks(top.model)[0].parameters()}
    beside = [p for p in top.parameters() if p.requires_grad and id(p) not in last]
    assert sorted(tuple(p.shape) for p in beside) == [(WIDTH,), (WIDTH,), (WIDTH,), (WIDTH, WIDTH)]
    assert top(torch.randn(2, 3, WIDTH), torch.ones(2, 3, dtype=torch.int64)).sum().requires_grad


def test_what_makes_the_first_blocks_input_is_found(backbone: Backbone) -> None:
    """All weights of the model's base belong to the blocks, to what makes their input, or to the norm behind them."""
    inside = {id(p) for p in backbone.blocks.parameters()}
    before = {id(p) for part in embeddings(backbone.model) for p in part.parameters()}
    norm = {id(p) for p in find_final_norm(backbone.model).parameters()}
    assert {id(p) for p in backbone.model.base_model.parameters()} == inside | before | norm
    assert not before & (inside | norm)
    assert id(backbone.model.get_input_embeddings().weight) in before


LORA = LoraTraining(rank=2, epochs=1, batch=3)
OTHERS: dict[str, dict[str, Any]] = {
    "mobillm": {"side": SideTraining(bottleneck=4, epochs=1, batch=3)},
    "local": {"lora": LORA},
    "split": {"lora": LORA},
    "ushape": {"lora": LORA},
    "fedlora": {"lora": LORA},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_protocols_run_on_encoders_too(encoder: Backbone, name: str) -> None:
    protocol = PROTOCOLS[name](selector="first", **OTHERS[name])
    scene = Scene(encoder, LABELS, protocol.parties(VICTIM[:6], Streams("b")), Streams("a secret seed"))
    scores = next(
        iter(device for device in record(protocol, scene).roles.values() if hasattr(device, "predict"))
    ).predict(TEXTS)
    assert scores.shape == (6, len(LABELS))
    assert scores.isfinite().all()


# --- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pae", "mobillm", "split", "local"])
@pytest.mark.parametrize(("family", "selector"), [("opt", "first"), ("llama", "first"), ("bert", "last")])
def test_a_selector_that_does_not_suit_the_backbone_is_refused(
    root: Path, name: str, family: str, selector: Selector
) -> None:
    with pytest.raises(UsageError, match=f"selector {selector} is for "):
        PROTOCOLS[name](selector=selector).roles(scene_of(load_family(family, root)))


def test_loss_tokens_are_no_selector_of_classification() -> None:
    for name in ("pae", "mobillm", "split", "local"):
        with pytest.raises(
            UsageError, match=f"selector loss does not suit the task of {name}; give one of last, first, mean"
        ):
            PROTOCOLS[name](selector="loss")


def test_a_decoder_of_an_encoders_family_is_causal_and_two_halves_are_no_backbone() -> None:
    assert is_causal(BertConfig(is_decoder=True))
    assert not is_causal(BertConfig())
    with pytest.raises(UsageError, match="a bart model has an encoder and a decoder"):
        is_causal(BartConfig())
