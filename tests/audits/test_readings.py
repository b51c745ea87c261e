"""What the harness reads off activations: by whom labelled, in which form, and what it never sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import Goal, LabelGuess, StolenModel
from sidelight.attacks.evidence.states import crossed_states, form_of
from sidelight.audits.cells.states import after, discriminant, states
from sidelight.system.backbone import Backbone
from sidelight.system.codec import Precision, through
from sidelight.system.fusion import pack_positions
from sidelight.system.heads import scores, verbaliser
from sidelight.system.message import Message
from sidelight.system.public import Example, Known, Public
from sidelight.system.view import View

from .hand_made import FACTS, IDS, LABELS, TEXTS, TRUE, blind, received, right, seen


def test_the_probe_reads_labels_off_the_activations_that_are_left(
    view: View, public: Public, backbone: Backbone
) -> None:
    rest = blind(view, public, backbone).rest(Goal.LABELS, frozenset({"difference"}))
    assert right(rest["probe"]) >= 0.9  # the classes' words are far apart


def test_the_probe_learns_from_auxiliary_rows_and_from_nothing_else(
    view: View, public: Public, backbone: Backbone
) -> None:
    turned = {label: LABELS[(i + 1) % 3] for i, label in enumerate(LABELS)}
    wrong = tuple(Example(e.text, turned[e.label]) for e in public.auxiliary)
    learnt = blind(view, public, backbone).rest(Goal.LABELS, frozenset({"difference"}))["probe"]
    misled = blind(view, replace(public, auxiliary=wrong), backbone).rest(Goal.LABELS, frozenset())["probe"]
    assert isinstance(learnt, LabelGuess)
    assert isinstance(misled, LabelGuess)
    assert misled.labels.tolist() == [(label + 1) % 3 for label in learnt.labels.tolist()]


def test_the_last_block_is_not_all_that_the_probe_reads(
    view: View, public: Public, backbone: Backbone, pivots: torch.Tensor
) -> None:
    """Another class's last state: the blocks below outvote it."""
    mixed = pivots.clone()
    mixed[:, -1] = pivots[[1, 2, 0, 4, 5, 3, 7, 8, 6, 10, 11, 9], -1]
    twins = blind(seen(received("activations", mixed)), public, backbone)
    alone = blind(
        seen(received("activations", mixed[:, -1:])), replace(public, facts={**FACTS, "layers": [3]}), backbone
    )
    whole, last = (one.rest(Goal.LABELS, frozenset())["probe"] for one in (twins, alone))
    assert right(whole) >= 0.8
    assert right(last) <= 0.5


def test_nothing_is_read_off_activations_that_are_attacked(view: View, public: Public, backbone: Backbone) -> None:
    twins = blind(view, public, backbone)
    assert set(twins.rest(Goal.LABELS, frozenset({"activations"}))) == {"prior"}


@pytest.mark.parametrize(
    ("withheld", "expected"),
    [
        ({}, {"probe"}),
        (
            {"auxiliary": ()},
            {"class names", "class names and priors", "verbaliser", "class names and clusters", "clusters"},
        ),
        ({"backbone": None}, {"clusters"}),
    ],
    ids=["auxiliary rows", "names alone", "a private backbone"],
)
@pytest.mark.parametrize("known", [False, True])
def test_the_rest_is_read_by_all_that_the_threat_model_leaves(
    withheld: dict[str, Any], expected: set[str], known: bool, view: View, public: Public, backbone: Backbone
) -> None:
    labels = tuple(Known(IDS[i], LABELS[TRUE[i]]) for i in range(3)) if known else ()
    left = replace(public, known=labels, **withheld)
    found = blind(view, left, backbone).rest(Goal.LABELS, frozenset({"difference"}))
    own = {"known prior", "probe of known rows"} if known else set()
    every = {"probe of all"} if known and left.backbone else set()
    assert set(found) == {"prior", *expected, *own, *every}


def test_the_twin_of_a_server_without_labels_reads_as_well_as_the_attack_on_activations(
    view: View, public: Public, backbone: Backbone
) -> None:
    left = replace(public, auxiliary=(), priors=(0.5, 0.25, 0.25))
    guess = ATTACKS["read"]().run(view, left, {}, torch.Generator())
    assert isinstance(guess, LabelGuess)
    twin = blind(view, left, backbone).rest(Goal.LABELS, frozenset({"difference"}))["class names and priors"]
    assert isinstance(twin, LabelGuess)
    assert dict(zip(twin.ids, twin.labels.tolist(), strict=True)) == dict(
        zip(guess.ids, guess.labels.tolist(), strict=True)
    )


def test_known_labels_without_auxiliary_rows_train_a_probe_of_their_own(
    view: View, public: Public, backbone: Backbone
) -> None:
    known = tuple(Known(IDS[i], LABELS[TRUE[i]]) for i in range(6))
    private = replace(public, backbone=None, auxiliary=(), known=known)
    assert right(blind(view, private, backbone).rest(Goal.LABELS, frozenset())["probe of known rows"]) >= 0.9
    turned = tuple(Known(one.id, LABELS[(LABELS.index(one.label) + 1) % 3]) for one in known)
    misled = blind(view, replace(private, known=turned), backbone).rest(Goal.LABELS, frozenset())
    assert right(misled["probe of known rows"]) <= 0.1


@pytest.fixture(scope="module")
def like_names(backbone: Backbone) -> View:
    """Activations that differ as the class names' own do."""
    names = states(backbone, LABELS, form_of(FACTS))[:, :, 0]
    noise = torch.randn(12, 3, backbone.width, generator=torch.Generator().manual_seed(0))
    return seen(received("activations", names[TRUE] + 0.3 * names.std(0) * noise + 5))


def test_activations_that_differ_as_class_names_do_are_read_without_any_label(
    like_names: View, public: Public, backbone: Backbone
) -> None:
    rest = blind(like_names, replace(public, auxiliary=()), backbone).rest(Goal.LABELS, frozenset({"difference"}))
    assert right(rest["class names"]) == 1
    assert right(rest["class names and clusters"]) == 1


def test_the_verbaliser_reads_the_last_state_and_favours_no_class_for_all_rows(
    view: View, public: Public, backbone: Backbone, pivots: torch.Tensor
) -> None:
    rest = blind(view, replace(public, auxiliary=()), backbone).rest(Goal.LABELS, frozenset({"difference"}))
    asked = scores(verbaliser(backbone, LABELS), backbone, pivots[:, -1])
    expected = ((asked - asked.mean(0)) / asked.std(0)).argmax(1)
    found = rest["verbaliser"]
    assert isinstance(found, LabelGuess)
    assert found.labels.tolist() == expected.tolist()


def test_a_known_label_stays_whatever_the_row_is_like(like_names: View, public: Public, backbone: Backbone) -> None:
    known = tuple(Known(IDS[i], LABELS[(TRUE[i] + 1) % 3]) for i in (0, 4))
    left = replace(public, auxiliary=(), known=known)
    found = blind(like_names, left, backbone).rest(Goal.LABELS, frozenset())["class names and clusters"]
    assert isinstance(found, LabelGuess)
    labels = dict(zip(found.ids, found.labels.tolist(), strict=True))
    assert [LABELS[labels[one.id]] for one in known] == [one.label for one in known]


def test_clusters_find_rows_of_a_class_without_any_name(like_names: View, public: Public, backbone: Backbone) -> None:
    rest = blind(like_names, replace(public, auxiliary=(), backbone=None), backbone).rest(Goal.LABELS, frozenset())
    found = rest["clusters"]
    assert isinstance(found, LabelGuess)
    groups = {(t, c) for t, c in zip(TRUE.tolist(), found.labels.tolist(), strict=True)}
    assert len(groups) == 3


def test_the_rest_does_not_see_what_is_attacked(view: View, public: Public, backbone: Backbone) -> None:
    """Differences of noise give the same guesses as those that hold the labels."""
    noise = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    other = seen(*(m for m in view.messages if m.kind == "activations"), received("difference", noise))
    left = replace(public, auxiliary=(), known=(Known(IDS[0], LABELS[0]), Known(IDS[1], LABELS[1])))
    one, two = (blind(v, left, backbone).rest(Goal.LABELS, frozenset({"difference"})) for v in (view, other))
    for name, guess in one.items():
        same = two[name]
        assert isinstance(guess, LabelGuess)
        assert isinstance(same, LabelGuess)
        assert guess.labels.tolist() == same.labels.tolist()


def test_rows_that_are_all_the_same_are_read_without_a_fault(view: View, public: Public, backbone: Backbone) -> None:
    flat = seen(received("activations", torch.ones(12, 3, backbone.width)))
    for left in (public, replace(public, auxiliary=())):
        for guess in blind(flat, left, backbone).rest(Goal.LABELS, frozenset()).values():
            assert isinstance(guess, LabelGuess)
            assert len(guess.labels) == 12


def test_auxiliary_rows_of_a_single_class_leave_twins_without_a_learner(
    view: View, public: Public, backbone: Backbone
) -> None:
    single = replace(public, auxiliary=tuple(e for e in public.auxiliary if e.label == "music"))
    twins = blind(view, single, backbone)
    assert "probe" not in twins.rest(Goal.LABELS, frozenset({"difference"}))
    assert isinstance(twins.outsider(Goal.MODEL)["learner"], StolenModel)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_texts_are_read_in_the_form_in_which_all_positions_cross(
    public: Public, backbone: Backbone, precision: Precision
) -> None:
    facts = {**FACTS, "positions": "all", "precision": precision}
    tokens = backbone.tokens(TEXTS, FACTS["longest"], FACTS["prompt"])
    packed, lengths = pack_positions(backbone.activations(tokens), tokens)
    tensors = {"activations": through(packed, precision), "lengths": lengths}
    view = seen(Message("activations", "device-0", "server", sample_ids=IDS, tensors=tensors))
    crossed = crossed_states(view, replace(public, facts=facts))[1]
    read = after(states(backbone, tuple(TEXTS), form_of(facts)), FACTS["layers"])
    torch.testing.assert_close(read, crossed.flatten(1), rtol=1e-4, atol=1e-4)
    rest = blind(view, replace(public, facts=facts), backbone).rest(Goal.LABELS, frozenset({"labels"}))
    assert right(rest["probe"]) >= 0.9


def test_all_runs_of_a_victim_share_one_fit(view: View, public: Public, backbone: Backbone) -> None:
    first, again = (blind(view, public, backbone) for _ in range(2))
    first.rest(Goal.LABELS, frozenset({"difference"}))
    before = discriminant.cache_info()
    again.rest(Goal.LABELS, frozenset({"difference"}))
    assert discriminant.cache_info().misses == before.misses
    assert discriminant.cache_info().hits == before.hits + 1
