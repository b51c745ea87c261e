"""Next tokens from the indices of a sparse difference, and labels from gradients that come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import LabelGuess, TextGuess
from sidelight.attacks.evidence.positions.next_tokens import Rows, positions
from sidelight.attacks.labels.gradient import likeness
from sidelight.system.codec import Precision, through
from sidelight.system.errors import UsageError
from sidelight.system.message import Message
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.public import Known, Public
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.view import View

from ..contracts.goals import texts_score
from ..contracts.leaks_texts import Disguise, language, sparse, turned
from ..contracts.micro import LABELS, VICTIM, Micro
from ..contracts.planted import Planted, attacked, from_run, made
from ..contracts.variants import LORA

# --- support --------------------------------------------------------------------------------------------------


def plain(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return values


def scaled(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A secret factor for each position."""
    return values * 4 ** (2 * torch.rand(len(values), 1, generator=generator) - 1)


def replaced(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Noise: the values say nothing."""
    return torch.randn(values.shape, generator=generator)


def doubled(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One secret scale and a fresh rotation."""
    return 7 * turned(values, generator)


def found(planted: Planted) -> float:
    return texts_score(attacked(planted), planted.truth)


@pytest.mark.parametrize("family", ["opt", "llama"])
@pytest.mark.parametrize("disguise", [plain, scaled, turned, doubled])
@pytest.mark.parametrize("entries", [1, 2, 8])
def test_texts_come_out_whole_under_scales_and_rotations_of_the_values(
    micro: Micro, family: str, disguise: Disguise, entries: int
) -> None:
    """Every token, the first of a family without opening tokens included."""
    assert found(sparse(micro, disguise, family, entries)) >= 0.99


@pytest.mark.parametrize("attack", ["support", "match"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"labelled": False}, {"entries": 10_000}, {"entries": 1}, {"entries": 300, "precision": "int4"}],
    ids=str,
)
def test_language_modelling_gives_its_texts_away(micro: Micro, attack: str, settings: dict[str, Any]) -> None:
    """Without what follows them; `match` lacks the last token of a text behind which nothing stands."""
    planted = from_run(micro, ATTACKS[attack](), language(**settings))
    guess = attacked(planted)
    assert isinstance(guess, TextGuess)
    cut = attack == "match" and "labelled" in settings
    whole = {i: tokens[:-1] if cut else tokens for i, tokens in planted.truth.tokens.items()}
    assert texts_score(guess, replace(planted.truth, tokens=whole)) >= (0.7 if "precision" in settings else 0.99)


def explained(micro: Micro, entries: int) -> float:
    """Share of positions whose next token is outside the backbone's likeliest, or the very likeliest."""
    planted = sparse(micro, plain, "opt", entries)
    backbone, right, total = micro.backbone("opt"), 0, 0
    states = {s.sample_id: s.activations for s in planted.view.sequences()}
    for sample_id, tokens in planted.truth.tokens.items():
        with torch.no_grad():
            scores = backbone.final_norm(states[sample_id][:, -1]) @ backbone.output_matrix().T
        for row, token in zip(scores, tokens, strict=True):
            rank = int((row > row[token]).sum())
            right += rank >= entries or rank == 0
            total += 1
    return right / total


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_rounded_states_still_explain_nearly_every_index_set(micro: Micro, precision: Precision) -> None:
    planted = sparse(micro)
    messages = [
        replace(m, tensors={name: rounded(tensor, precision) for name, tensor in m.tensors.items()})
        for m in planted.view.messages
    ]
    assert found(replace(planted, view=replace(planted.view, messages=messages))) >= 0.9


def rounded(tensor: torch.Tensor, precision: Precision) -> torch.Tensor:
    return through(tensor, precision) if tensor.is_floating_point() else tensor


@pytest.mark.parametrize("entries", [2, 8, 32])
def test_the_indices_alone_give_every_token_outside_the_likeliest(micro: Micro, entries: int) -> None:
    assert found(sparse(micro, replaced, "opt", entries)) >= explained(micro, entries) - 0.01


def test_one_position_by_hand() -> None:
    """p = (0.4, 0.3, 0.2, 0.1), two entries: {0, 3} can only be of 3, {1, 0} is of 0 or 1 and 0 is likelier."""
    chances = torch.tensor([[0.4, 0.1], [0.3, 0.4]]).log()
    rows = Rows(("a",), [2], torch.empty(0), torch.tensor([[0, 3], [1, 0]]), torch.ones(2, 2))
    assert positions(rows, chances, torch.tensor([0.3, 0.3]).log()).tolist() == [3, 0]


def test_samples_with_one_kind_only_are_left_out(micro: Micro) -> None:
    planted = sparse(micro)
    first = next(planted.view.of("activations"))
    kept = [m for m in planted.view.messages if m is not first]
    guess = attacked(replace(planted, view=replace(planted.view, messages=kept)))
    assert isinstance(guess, TextGuess)
    assert not set(guess.ids) & set(first.sample_ids)
    assert len(guess.ids) == len(planted.truth.tokens) - len(first.sample_ids)


# --- gradient -------------------------------------------------------------------------------------------------


class Returned:
    """Gradients of a linear softmax head with respect to its input, by automatic differentiation."""

    def __init__(self, classes: int, rows: int, steps: int = 0, noise: float = 0.0, spread: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(classes)
        self.labels = torch.arange(rows) % classes
        centres = torch.randn(classes, 64, generator=generator)
        self.features = spread * centres[self.labels] / 2 + torch.randn(rows, 64, generator=generator)
        self.head = (torch.randn(classes, 64, generator=generator) / 8).requires_grad_()
        for _ in range(steps):
            (slope,) = torch.autograd.grad(cross_entropy(self.features @ self.head.T, self.labels), self.head)
            self.head = (self.head - 2 * slope).detach().requires_grad_()
        inputs = self.features.clone().requires_grad_()
        cross_entropy(inputs @ self.head.T, self.labels).backward()
        assert inputs.grad is not None
        drawn = torch.randn(rows, 64, generator=generator) * inputs.grad.norm(dim=1).median() / 8
        self.gradients = inputs.grad + noise * drawn
        self.ids = tuple(f"{i:016x}" for i in range(rows))
        self.public = Public({}, tuple(f"class {k}" for k in range(classes)))

    def view(self, features: bool = True) -> View:
        down = Message("gradients", DEVICE, SERVER, sample_ids=self.ids, tensors={"gradients": self.gradients})
        up = Message("features", SERVER, DEVICE, sample_ids=self.ids, tensors={"features": self.features})
        return View(frozenset({SERVER}), [up, down] if features else [down], {}, {})

    def known(self, a_class: int) -> Public:
        names, count = self.public.labels, len(self.public.labels)
        told = zip(self.ids[: a_class * count], self.labels.tolist(), strict=False)
        return replace(self.public, known=tuple(Known(i, names[label]) for i, label in told))

    def accuracy(self, public: Public, features: bool = True, settings: dict[str, int] | None = None) -> float:
        """Of the rows whose labels are not known."""
        attack = replace(ATTACKS["gradient"](), **(settings or {}))
        guess = attack.run(self.view(features), public, {}, torch.Generator().manual_seed(0))
        assert isinstance(guess, LabelGuess)
        assert guess.ids == self.ids
        unknown = len(public.known)
        return float((guess.labels == self.labels)[unknown:].float().mean())


@pytest.mark.parametrize("classes", [2, 4, 20, 77, 150])
@pytest.mark.parametrize("features", [True, False])
def test_one_known_label_a_class_names_the_directions_of_an_untrained_secret_head(classes: int, features: bool) -> None:
    made = Returned(classes, max(200, 5 * classes))
    assert made.accuracy(made.known(1), features) >= 0.99


@pytest.mark.parametrize("steps", [0, 50])
@pytest.mark.parametrize("classes", [2, 4, 20])
def test_a_public_head_needs_no_known_label(classes: int, steps: int) -> None:
    made = Returned(classes, 200, steps)
    public = replace(made.public, head={"weight": made.head.detach()})
    assert made.accuracy(public) >= 0.99


def test_another_head_than_the_devices_is_not_believed() -> None:
    made = Returned(4, 200)
    wrong = {"weight": torch.randn(4, 64, generator=torch.Generator().manual_seed(9))}
    assert made.accuracy(replace(made.known(1), head=wrong)) >= 0.99


def test_completion_from_known_labels_finds_what_clusters_lose_in_noise() -> None:
    made = Returned(10, 400, steps=50, noise=2.0)
    assert made.accuracy(made.known(5)) >= 0.95
    assert made.accuracy(made.known(5), settings={"rounds": 0}) < 0.8


def test_two_classes_of_known_frequency_are_named_without_any_label() -> None:
    """One in five is of class 1: its cluster is the smaller one, and its gradients are the longer ones once learned."""
    made = Returned(5, 300)
    two = Returned(2, 300)
    rare = (made.labels == 0).long()
    two.labels, weight = rare, torch.tensor([[0.3] * 64, [-0.3] * 64])
    two.gradients = ((torch.tensor([0.8, 0.2]) - torch.nn.functional.one_hot(rare, 2)) @ weight) / 300
    assert two.accuracy(replace(two.public, priors=(0.8, 0.2)), features=False) == 1.0


def test_the_likeness_is_the_cosine_with_each_labels_gradient() -> None:
    """Against the tensor (N, K, d) itself."""
    generator = torch.Generator().manual_seed(0)
    chances, head = torch.rand(7, 5, generator=generator).softmax(1), torch.randn(5, 3, generator=generator)
    gradients = torch.randn(7, 3, generator=generator)
    each = (chances.unsqueeze(1) - torch.eye(5)) @ head
    expected = torch.cosine_similarity(gradients.unsqueeze(1), each, dim=2)
    torch.testing.assert_close(likeness(gradients, chances, head), expected)


@pytest.mark.parametrize("classes", [2, 3])
def test_gradients_that_vanish_or_are_no_numbers_still_give_a_class(classes: int) -> None:
    made = Returned(classes, 30)
    made.gradients = made.gradients.clone()
    made.gradients[:5], made.gradients[5] = 0.0, torch.nan
    made.accuracy(made.known(1))
    made.gradients = torch.zeros_like(made.gradients)
    assert made.accuracy(made.known(1)) <= 0.7


def test_rounds_below_zero_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^rounds is -1; give 0 or more$"):
        replace(ATTACKS["gradient"](), **{"rounds": -1})


@pytest.mark.parametrize("settings", [{}, {"bottom": "trainable"}, {"fleet": Fleet(2)}])
def test_gradients_of_a_recorded_ushape_run_name_every_label(micro: Micro, settings: dict[str, Any]) -> None:
    guess = attacked(from_run(micro, ATTACKS["gradient"](), made("ushape", lora=LORA, **settings)))
    assert isinstance(guess, LabelGuess)
    truth = {sample.id: LABELS.index(sample.label) for sample in VICTIM}
    assert dict(zip(guess.ids, guess.labels.tolist(), strict=True)) == truth
