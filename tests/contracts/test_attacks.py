"""The contract of every attack, by goal: a well-formed guess that finds a planted leak and finds nothing in noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb

import pytest
import torch

from sidelight.attacks import ATTACKS, Attack
from sidelight.attacks.attack import (
    Goal,
    Guess,
    LabelGuess,
    MembershipScores,
    Needs,
    Prepared,
    TextGuess,
)
from sidelight.system.public import Public
from sidelight.system.view import View

from .goals import RARE, contract, labels_chance, labels_form, labels_score, members_score, strangers_chance
from .micro import LABELS, VICTIM, Micro
from .planted import Planted, Truth, attacked, every_leak, noise_for, plant

FOUND = 0.99
"""Share of a planted leak that an attack must find."""
NOISE_DRAWS = 5
"""Noise models that a stolen model is averaged over: one model's answers to all queries depend on each other."""

LINKED = [name for name in ATTACKS if ATTACKS[name].linked and ATTACKS[name].goal in (Goal.LABELS, Goal.TEXTS)]
"""Attacks that say of each sample, by its id, what they guess."""

every_attack = pytest.mark.parametrize("name", ATTACKS)
every_linked_attack = pytest.mark.parametrize("name", LINKED)


class Leaks:
    """Planted leaks, each made once."""

    def __init__(self, micro: Micro) -> None:
        self._micro = micro
        self._made: dict[str, Planted] = {}

    def of(self, name: str) -> Planted:
        if name not in self._made:
            self._made[name] = plant(name, self._micro)
        return self._made[name]


@pytest.fixture(scope="module")
def leaks(micro: Micro) -> Leaks:
    return Leaks(micro)


# --- the suite ------------------------------------------------------------------------------------------------


@every_attack
def test_an_attack_declares_name_source_goal_and_kinds(name: str) -> None:
    attack = ATTACKS[name]
    assert attack.name == name
    assert attack.__module__.rpartition(".")[2] == name
    assert attack.source
    assert isinstance(attack.goal, Goal)
    assert attack.attacked
    assert attack.attacked <= attack.needs.view


@every_attack
def test_the_planted_run_shows_what_the_attack_needs(leaks: Leaks, name: str) -> None:
    planted = leaks.of(name)
    attack = planted.attack
    assert attack.needs.view <= planted.view.kinds
    assert attack.needs.public <= planted.public.items
    assert all(planted.public.facts[fact] in allowed for fact, allowed in attack.assumes.items())
    if planted.protocol is not None:
        assert attack.needs.view <= frozenset().union(*(planted.protocol.shows[p] for p in planted.view.parties))


@every_attack
def test_the_guess_is_well_formed(leaks: Leaks, name: str) -> None:
    planted = leaks.of(name)
    contract(planted.attack).form(attacked(planted), planted)


@every_attack
def test_the_attack_finds_the_planted_leak(leaks: Leaks, name: str) -> None:
    planted = leaks.of(name)
    assert contract(planted.attack).score(attacked(planted), planted.truth) >= FOUND


@every_attack
def test_on_noise_the_guess_is_well_formed_and_no_better_than_guessing(leaks: Leaks, name: str) -> None:
    planted = leaks.of(name)
    judged = contract(planted.attack)
    scores = []
    for draw in range(NOISE_DRAWS if planted.attack.goal is Goal.MODEL else 1):
        guess = attacked(planted, noise_for(planted.view, draw))
        judged.form(guess, planted)
        scores.append(judged.score(guess, planted.truth))
    assert sum(scores) / len(scores) <= judged.chance(planted)
    assert judged.chance(planted) < FOUND / 2 or planted.attack.goal is Goal.MEMBERS


@every_linked_attack
def test_of_a_view_filed_under_other_ids_it_tells_no_more_than_other_samples_do(leaks: Leaks, name: str) -> None:
    planted = leaks.of(name)
    shuffled = planted.view.shuffled(torch.Generator().manual_seed(2))
    score = contract(planted.attack).score(attacked(planted, shuffled), planted.truth)
    assert score <= strangers_chance(planted) < FOUND


@every_attack
def test_the_same_generator_state_gives_the_same_guess(leaks: Leaks, name: str) -> None:
    planted = leaks.of(name)
    assert same(attacked(planted), attacked(planted))


@every_attack
def test_the_view_and_public_knowledge_stay_as_they_were(leaks: Leaks, name: str) -> None:
    planted = leaks.of(name)
    before = snapshot(planted)
    attacked(planted)
    after = snapshot(planted)
    assert before.keys() == after.keys()
    assert [key for key in before if not torch.equal(before[key], after[key])] == []


@every_attack
def test_the_global_random_state_is_left_alone(leaks: Leaks, name: str) -> None:
    planted = leaks.of(name)
    before = torch.get_rng_state()
    attacked(planted)
    assert torch.equal(before, torch.get_rng_state())


def same(one: Guess, other: Guess) -> bool:
    """Whether two guesses agree in every field, bit by bit."""
    if type(one) is not type(other):
        return False
    pairs = [(value, getattr(other, name)) for name, value in vars(one).items()]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def snapshot(planted: Planted) -> dict[str, torch.Tensor]:
    """Copies of every tensor that an attack is given."""
    found = {f"{i} {name}": t for i, m in enumerate(planted.view.messages) for name, t in m.tensors.items()}
    found |= {f"held {item} {name}": t for item, ts in planted.view.held.items() for name, t in ts.items()}
    found |= {f"head {name}": t for name, t in (planted.public.head or {}).items()}
    return {name: tensor.clone() for name, tensor in found.items()}


# --- the suite catches what it should ------------------------------------------------------------------------


def test_an_attack_without_a_planted_leak_fails_with_the_place_to_add_one(micro: Micro) -> None:
    with pytest.raises(pytest.fail.Exception, match="'unheard' has no planted leak: add an entry to PLANTED"):
        plant("unheard", micro)
    assert set(every_leak()) <= set(ATTACKS)


@dataclass(frozen=True)
class Foul(Attack):
    """Breaks the rule that its field names."""

    name = "foul"
    source = "none"
    goal = Goal.LABELS
    needs = Needs()
    attacked = frozenset({"labels"})

    rule: str

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        ids, labels = view.rows("labels", "labels")
        if self.rule == "writes into the view":
            next(view.of("labels")).tensors["labels"].zero_()
        return FOULS[self.rule](ids, labels)


FOULS: dict[str, Callable[[tuple[str, ...], torch.Tensor], Guess]] = {
    "writes into the view": LabelGuess,
    "own random numbers": lambda ids, labels: LabelGuess(ids, torch.randint(len(LABELS), labels.shape)),
    "blind": lambda ids, labels: LabelGuess(ids, torch.zeros_like(labels)),
    "foreign ids": lambda ids, labels: LabelGuess(tuple(f"{i:016x}" for i in range(len(ids))), labels),
    "twice the same id": lambda ids, labels: LabelGuess((ids[0],) * len(ids), labels),
    "labels as fractions": lambda ids, labels: LabelGuess(ids, labels.float()),
    "unknown class": lambda ids, labels: LabelGuess(ids, labels + len(LABELS)),
    "one too few": lambda ids, labels: LabelGuess(ids, labels[1:]),
    "no labels": lambda ids, labels: TextGuess(ids, ((),) * len(ids)),
}
MALFORMED = list(FOULS)[3:]


def foul(leaks: Leaks, rule: str) -> Planted:
    planted = leaks.of("plaintext")
    messages = [replace(m, tensors={n: t.clone() for n, t in m.tensors.items()}) for m in planted.view.messages]
    return replace(planted, attack=Foul(rule), view=replace(planted.view, messages=messages))


@pytest.mark.parametrize("rule", MALFORMED)
def test_a_malformed_guess_is_caught(leaks: Leaks, rule: str) -> None:
    planted = foul(leaks, rule)
    with pytest.raises(AssertionError):
        labels_form(attacked(planted), planted)


def test_global_randomness_writing_and_blindness_are_caught(leaks: Leaks) -> None:
    for rule, check in (
        ("own random numbers", test_the_same_generator_state_gives_the_same_guess),
        ("own random numbers", test_the_global_random_state_is_left_alone),
        ("writes into the view", test_the_view_and_public_knowledge_stay_as_they_were),
        ("blind", test_the_attack_finds_the_planted_leak),
    ):
        caught = Leaks.__new__(Leaks)
        caught._made = {"foul": foul(leaks, rule)}
        with pytest.raises(AssertionError):
            check(caught, "foul")


def test_a_score_that_survives_noise_is_caught(leaks: Leaks) -> None:
    """An attack that was given the truth scores far above what guessing allows."""
    planted = leaks.of("plaintext")
    told = LabelGuess(tuple(planted.truth.labels), torch.tensor(list(planted.truth.labels.values())))
    assert labels_score(told, planted.truth) == 1.0 > labels_chance(planted)


def test_the_noise_bound_is_the_exact_binomial_one(leaks: Leaks) -> None:
    """48 rows, 6 classes, summed term by term: 20 right is rarer than the bound, 19 is not."""
    planted = leaks.of("plaintext")
    tail = {least: sum(comb(48, k) * 5 ** (48 - k) for k in range(least, 49)) / 6**48 for least in (19, 20)}
    assert tail[20] <= RARE < tail[19]
    assert labels_chance(planted) * len(VICTIM) == pytest.approx(19)


def test_membership_scores_are_judged_by_the_order_of_pairs() -> None:
    truth = Truth({}, {}, members={"a": True, "b": True, "c": False, "d": False})
    guess = MembershipScores(("a", "b", "c", "d"), torch.tensor([3.0, 1.0, 1.0, 0.0]))
    assert members_score(guess, truth) == 0.875  # of four pairs three are in order and one is tied
