"""The frozen model against transformers' own hidden states: blocks, padding, caches, norms, and bad references."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, DynamicCache, GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

from sidelight.system.anatomy import find_blocks, find_final_norm, find_parent
from sidelight.system.backbone import Backbone, Tokens, load_backbone
from sidelight.system.errors import UsageError

from ..contracts.micro import VICTIM, Micro

TEXTS = [sample.text for sample in VICTIM[:5]]
BLOCKS = {"opt": 3, "llama": 2}


@pytest.fixture(params=["opt", "llama"])
def backbone(request: pytest.FixtureRequest, micro: Micro) -> Backbone:
    return micro.backbone(request.param)


def hidden_states(backbone: Backbone, ids: list[int]) -> tuple[torch.Tensor, ...]:
    """transformers' own states of one unpadded text, L + 1 of (T, d): embeddings, blocks, the last after its norm."""
    with torch.no_grad():
        output = backbone.model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    return tuple(state[0] for state in output.hidden_states)


def test_the_longest_text_that_is_let_in_runs_and_one_token_more_is_refused(backbone: Backbone) -> None:
    around = len(backbone.prefix) + len(backbone.token_ids(" topic:"))
    most = backbone.model.config.max_position_embeddings - around
    backbone.require_room(most, " topic:")
    backbone.activations(backbone.pad([[3] * (most + around)]))
    with pytest.raises(UsageError, match=f"longest is {most + 1} and .*; give at most {most}"):
        backbone.require_room(most + 1, " topic:")


@torch.no_grad()
def test_activations_are_the_blocks_outputs_of_each_text_alone(backbone: Backbone) -> None:
    """Right padding changes nothing, whatever the lengths."""
    tokens = backbone.tokens(TEXTS, 48, " topic:")
    assert len(set(tokens.mask.sum(1).tolist())) > 2
    activations = backbone.activations(tokens)
    for row, length in enumerate(tokens.mask.sum(1).tolist()):
        expected = hidden_states(backbone, tokens.ids[row, :length].tolist())
        found = activations[row, :length]
        for block in range(1, len(backbone.blocks)):
            torch.testing.assert_close(found[:, block - 1], expected[block], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(backbone.final_norm(found[:, -1]), expected[-1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_last_block_that_is_asked_for_ends_the_pass(backbone: Backbone) -> None:
    tokens = backbone.tokens(TEXTS, 48)
    ran = []
    handle = backbone.blocks[1].register_forward_hook(lambda *_: ran.append(1))
    first = backbone.activations(tokens, 1)
    handle.remove()
    assert ran == []
    assert first.shape == (*tokens.ids.shape, 1, backbone.width)
    assert torch.equal(first[:, :, 0], backbone.activations(tokens)[:, :, 0])


@torch.no_grad()
def test_a_cache_gives_the_states_of_the_whole_text_piece_by_piece(backbone: Backbone) -> None:
    rows = [backbone.token_ids(text)[:6] for text in TEXTS]
    whole = backbone.activations(backbone.pad(rows))
    ids, mask = backbone.pad(rows)
    cache, pieces, start = DynamicCache(), [], 0
    for size in (3, 1, 2):
        new = Tokens(ids[:, start : start + size], mask[:, : start + size])
        pieces.append(backbone.activations(new, None, cache))
        start += size
    full = mask.sum(1) == start
    torch.testing.assert_close(torch.cat(pieces, 1)[full], whole[full], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cache_of_the_first_block_serves_the_first_block(backbone: Backbone) -> None:
    ids, mask = backbone.pad([backbone.token_ids(TEXTS[0])[:5]])
    cache = DynamicCache()
    backbone.activations(Tokens(ids[:, :4], mask[:, :4]), 1, cache)
    last = backbone.activations(Tokens(ids[:, 4:], mask), 1, cache)
    torch.testing.assert_close(last[:, 0], backbone.activations(Tokens(ids, mask), 1)[:, 4], atol=1e-5, rtol=1e-5)


def test_hooks_are_gone_after_a_pass_and_after_a_failure(backbone: Backbone) -> None:
    backbone.activations(backbone.tokens(TEXTS, 48))
    with pytest.raises(IndexError):
        backbone.activations(Tokens(torch.tensor([[10**6]]), torch.ones(1, 1, dtype=torch.int64)))
    assert all(not block._forward_hooks for block in backbone.blocks)


def test_the_model_is_frozen_in_float32_without_dropout(backbone: Backbone) -> None:
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert {p.dtype for p in backbone.model.parameters()} == {torch.float32}
    assert not any(module.training for module in backbone.model.modules())


def test_tokens_open_with_the_prefix_cut_the_text_and_end_with_the_prompt(micro: Micro) -> None:
    for family, opening in (("opt", [0]), ("llama", [])):
        backbone = micro.backbone(family)
        text, prompt = backbone.token_ids(TEXTS[3]), backbone.token_ids(" topic:")
        assert len(text) > 4
        rows = [[*opening, *text[:4], *prompt], [*opening, *prompt]]
        ids, mask = backbone.tokens([TEXTS[3], ""], 4, " topic:")
        assert backbone.prefix == opening
        assert ids.tolist() == [rows[0], rows[1] + [0] * 4]
        assert mask.tolist() == [[1] * len(rows[0]), [1] * len(rows[1]) + [0] * 4]


def test_text_tokens_hold_no_special_ones_and_spell_the_text(backbone: Backbone) -> None:
    for text in [*TEXTS, "Ünïcode <s> and  spaces \n", ""]:
        assert backbone.tokenizer.decode(backbone.token_ids(text)) == text or "<s>" in text
    assert backbone.token_ids(TEXTS[0], 2) == backbone.token_ids(TEXTS[0])[:2]


@torch.no_grad()
def test_the_output_matrix_gives_the_models_own_logits(backbone: Backbone) -> None:
    tokens = backbone.tokens(TEXTS[:1], 48)
    logits = backbone.model(input_ids=tokens.ids).logits
    last = backbone.activations(tokens)[:, :, -1]
    torch.testing.assert_close(backbone.final_norm(last) @ backbone.output_matrix().T, logits, atol=1e-4, rtol=1e-4)


def test_the_digest_is_a_hash_over_the_weights_in_name_order(micro: Micro, tmp_path: Path) -> None:
    backbone = micro.backbone("llama")
    state = backbone.model.state_dict()
    digest = hashlib.sha256(b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state)))
    assert backbone.digest == digest.hexdigest()[:16]
    assert micro.backbone("llama").digest == backbone.digest
    assert micro.backbone("opt").digest != backbone.digest
    with torch.no_grad():
        state["model.norm.weight"][0] += 1e-3
    backbone.model.save_pretrained(tmp_path)
    backbone.tokenizer.save_pretrained(tmp_path)
    assert load_backbone(str(tmp_path)).digest != digest.hexdigest()[:16]


def test_blocks_norm_and_parent_are_found_in_another_family() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=11, bos_token_id=0, eos_token_id=0))
    assert find_blocks(model) is model.transformer.h
    assert find_parent(model) == (model.transformer, "h")
    assert find_final_norm(model) is model.transformer.ln_f


def test_a_model_without_one_list_of_blocks_is_refused() -> None:
    class Odd(torch.nn.Module):
        config = BertConfig(num_hidden_layers=2)

    with pytest.raises(
        UsageError, match="cannot find the 2 blocks of Odd; give a model that is a decoder or an encoder alone"
    ):
        find_blocks(Odd())


def test_a_projected_output_matrix_is_refused(micro: Micro) -> None:
    """The smallest OPT models with a projection have states wider than their embeddings."""
    config = OPTConfig(
        vocab_size=300,
        hidden_size=16,
        word_embed_proj_dim=8,
        ffn_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    backbone = Backbone(OPTForCausalLM(config), micro.backbone("opt").tokenizer, "projected", "")
    with pytest.raises(UsageError, match="projected projects its states before the output matrix"):
        backbone.output_matrix()


# --- references -----------------------------------------------------------------------------------------------


def test_a_local_folder_gives_its_name(micro: Micro) -> None:
    for family, blocks in BLOCKS.items():
        backbone = load_backbone(str(micro.folders[family]))
        assert (backbone.name, len(backbone.blocks), backbone.width) == (family, blocks, 32)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("sidelight-tinny", "unknown backbone 'sidelight-tinny'; did you mean 'sidelight-tiny'?"),
        ("nobody/no-such-model", "'nobody/no-such-model' is no packaged name or local folder and the Hugging Face hub"),
        ("/no/such/folder", "the backbone folder /no/such/folder does not exist"),
        ("./missing", r"the backbone folder ./missing does not exist"),
    ],
)
def test_a_wrong_reference_is_refused_in_one_sentence(reference: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        load_backbone(reference)
    assert "\n" not in str(refusal.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, micro: Micro) -> None:
    with pytest.raises(UsageError, match=r"holds no config\.json"):
        load_backbone(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "opt"}))
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_backbone(str(tmp_path))
    micro.backbone("opt").tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_backbone(str(tmp_path))
