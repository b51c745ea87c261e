"""Attacks on adapters that were tuned elsewhere: what they find, and what they do not."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import MembershipScores, StolenModel
from sidelight.attacks.evidence.adapted import both_chances, challenged_examples, class_answers, released_model
from sidelight.attacks.evidence.members.adapted_shadows import adapted_shadows
from sidelight.attacks.evidence.members.shadows import Shadows
from sidelight.attacks.membership.mink import hardest
from sidelight.attacks.membership.rmia import RMIA
from sidelight.attacks.workbench import Workbench
from sidelight.audits.cells.applies import outside
from sidelight.system.errors import UsageError
from sidelight.system.protocols import Scene
from sidelight.system.protocols.released import Released
from sidelight.system.randomness import Streams

from ..contracts.conftest import micro
from ..contracts.elsewhere import FORM, base, tuned
from ..contracts.goals import members_chance, members_score
from ..contracts.leaks_learned import attack
from ..contracts.leaks_released import MEMBERS, asked, pool, released
from ..contracts.micro import LABELS, QUERIES, Micro
from ..contracts.planted import attacked

__all__ = ["micro"]

CHEAP = ("loss", "gain", "mink", "ezmia")
SHADOWED = ("lira", "rmia", "calibrated")


@pytest.mark.parametrize("name", CHEAP)
def test_a_language_model_that_knows_rows_by_heart_betrays_them(micro: Micro, name: str) -> None:
    planted = released(micro, attack(name))
    assert members_score(attacked(planted), planted.truth) > 0.85


def test_a_classifier_that_knows_random_labels_by_heart_betrays_them(micro: Micro) -> None:
    planted = released(micro, attack("loss"), "SEQ_CLS")
    assert members_score(attacked(planted), planted.truth) > 0.9


@pytest.mark.parametrize("task", ["SEQ_CLS", "CAUSAL_LM"])
def test_an_adapter_of_other_rows_betrays_nobody(micro: Micro, task: str) -> None:
    """The rows that are called members are none: the adapter was tuned on the last of the pool."""
    planted = released(micro, attack("loss"), task, slice(MEMBERS, None))
    strangers = {row.text for row in pool()[:MEMBERS]}
    others = pool()[MEMBERS:]
    inside = {one.id: one.text in strangers for one in planted.public.challenge}
    assert members_score(attacked(planted), replace(planted.truth, members=inside)) < 0.5
    # of rows that it never saw, halves are alike
    unseen = [one for one in planted.public.challenge if one.text not in {row.text for row in others}]
    halves = {one.id: at % 2 == 0 for at, one in enumerate(unseen)}
    fair = replace(planted, public=replace(planted.public, challenge=tuple(unseen)))
    fair = replace(fair, truth=replace(planted.truth, members=halves))
    assert members_score(attacked(fair), fair.truth) <= members_chance(fair)


def test_shadows_of_the_same_recipe_tell_members(micro: Micro) -> None:
    planted = released(micro, attack("lira", shadows=8), "SEQ_CLS", epochs=12)
    prepared = planted.attack.prepare(planted.public, torch.Generator().manual_seed(0), Workbench())
    assert prepared["inside"].sum(1).tolist() == [len(planted.public.challenge) // 2] * 8
    for name in SHADOWED:
        guess = attack(name, shadows=8).run(planted.view, planted.public, prepared, torch.Generator())
        assert members_score(guess, planted.truth) > 0.8


def test_shadows_go_on_where_they_were_stopped(micro: Micro, tmp_path: Path) -> None:
    public = released(micro, attack("lira"), "SEQ_CLS", epochs=1).public
    whole = adapted_shadows(public, 3, torch.Generator().manual_seed(0), Workbench())
    adapted_shadows(public, 2, torch.Generator().manual_seed(0), Workbench(tmp_path))
    again = adapted_shadows(public, 3, torch.Generator().manual_seed(5), Workbench(tmp_path))
    assert torch.equal(whole.inside, again.inside)
    assert torch.equal(whole.errors, again.errors)


def test_attacks_on_language_do_not_apply_to_classes_and_none_where_only_answers_are_given(micro: Micro) -> None:
    public = released(micro, attack("loss"), "SEQ_CLS").public
    for name in ("gain", "mink", "ezmia"):
        why = outside(ATTACKS[name](), frozenset({"held:tuned"}), public.items, public.facts)
        assert why is not None
        assert why.reason.startswith("fusion is adapted classes")
    planted = asked(micro)
    why = outside(ATTACKS["loss"](), planted.view.kinds, planted.public.items, planted.public.facts)
    assert why is not None
    assert why.status == "not_exposed"


def test_the_rebuilt_model_is_pefts_own(micro: Micro) -> None:
    """Tokens, losses and logits, by transformers and peft alone."""
    planted = released(micro, attack("loss"), "SEQ_CLS")
    model = released_model(planted.view.held["tuned"], planted.public)
    examples = challenged_examples(planted.public)
    own = tuned("SEQ_CLS", "opt", tuple(pool()[:MEMBERS]), 60).eval()
    tokenizer = AutoTokenizer.from_pretrained(base("opt"))
    given = tokenizer([text for text, _ in examples], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = own(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).logits
    found = class_answers(model, planted.public, [text for text, _ in examples])
    torch.testing.assert_close(found.detach(), logits, atol=1e-3, rtol=1e-3)
    targets = torch.tensor([LABELS.index(label) for _, label in examples])
    nats = -logits.log_softmax(1)[torch.arange(len(targets)), targets]
    torch.testing.assert_close(model.errors(examples), nats, atol=1e-3, rtol=1e-3)


def test_a_language_models_losses_are_those_that_transformers_states(micro: Micro) -> None:
    planted = released(micro, attack("gain"))
    model, examples = released_model(planted.view.held["tuned"], planted.public), challenged_examples(planted.public)
    own = tuned("CAUSAL_LM", "opt", tuple(pool()[:MEMBERS]), 60).eval()
    tokenizer = AutoTokenizer.from_pretrained(base("opt"))
    for at, (text, label) in enumerate(examples[:8]):
        ids = tokenizer(FORM.format(text=text, label=label), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            stated = float(own(input_ids=ids, labels=ids).loss)
            with own.disable_adapter():
                untuned = float(own(input_ids=ids, labels=ids).loss)
        assert float(model.errors([examples[at]])[0]) == pytest.approx(stated, abs=1e-3)
        _, before, came = both_chances(model, model.rows([examples[at]])[0])
        assert float(-before.gather(1, came.unsqueeze(1)).log().mean()) == pytest.approx(untuned, abs=1e-3)


def test_queries_are_answered_as_the_maker_answers_them(micro: Micro) -> None:
    planted = released(micro, attack("readoff"))
    guess, maker = attacked(planted), planted.protocol
    assert isinstance(guess, StolenModel)
    assert isinstance(maker, Released)
    scene = Scene(micro.backbone("opt"), LABELS, {}, Streams("another seed"))
    torch.testing.assert_close(guess.outputs, maker.model(scene).scores([row.text for row in QUERIES]))


def test_the_hardest_tokens_are_the_largest_share() -> None:
    nats = torch.tensor([1.0, 4.0, 2.0, 3.0, 0.5])
    assert hardest(nats, 0.4) == pytest.approx(3.5)
    assert hardest(nats, 0.01) == 4.0
    assert hardest(torch.empty(0), 0.2) == 0.0
    with pytest.raises(UsageError, match="share of mink is 0"):
        attack("mink", share=0.0)


def test_an_adapters_likelihood_ratio_is_that_of_its_cross_entropies() -> None:
    """By hand: log p(x) - log mean of p over shadows, with p = exp(-nats)."""
    nats = torch.tensor([[1.0, 2.0], [3.0, 0.5]])
    shadows = Shadows(torch.tensor([[True, False], [False, True]]), nats.log(), nats=True)
    found = RMIA().judged(torch.tensor([0.5, 1.0]).log(), shadows)
    usual = [torch.tensor((exp(-1.0) + exp(-3.0)) / 2).log(), torch.tensor((exp(-2.0) + exp(-0.5)) / 2).log()]
    torch.testing.assert_close(found, torch.tensor([-0.5, -1.0]) - torch.stack(usual))


def test_an_adapter_whose_weights_do_not_fit_is_refused(micro: Micro) -> None:
    planted = released(micro, attack("loss"), "SEQ_CLS")
    tensors = dict(planted.view.held["tuned"])
    name = sorted(tensors)[0]
    for wrong in ({k: v for k, v in tensors.items() if k != name}, {**tensors, name: tensors[name][:1]}):
        view = replace(planted.view, held={"tuned": wrong})
        with pytest.raises(UsageError, match=r"give the (backbone|adapter|configuration)"):
            attacked(planted, view)
    assert isinstance(attacked(planted), MembershipScores)
