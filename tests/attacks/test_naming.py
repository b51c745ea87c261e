"""Names for clusters, and classifiers of activations: on made points with known answers, and on micro runs."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sidelight.attacks.evidence.labels.naming import known_evidence, name_clusters, named_by, size_evidence, verbalised
from sidelight.attacks.evidence.labels.probing import fitted, probabilities
from sidelight.attacks.evidence.states import TEMPLATES, auxiliary_states, class_name_states, crossed_states
from sidelight.system.heads import verbaliser
from sidelight.system.protocols import Protocol
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.public import Example, Known, Public

from ..contracts.leaks_texts import named_by_keywords, probe
from ..contracts.micro import LABELS, VICTIM, Micro
from ..contracts.planted import from_run, made, mobillm, pae, split


def points(a_class: int, classes: int, width: int, apart: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian points (N, 1, width) about centres that the seed does not change, and their labels (N,)."""
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(a_class * classes) % classes
    noise = torch.randn(len(labels), width, generator=torch.Generator().manual_seed(seed))
    return (apart * centres[labels] + noise).unsqueeze(1), labels


def accuracy(found: torch.Tensor, labels: torch.Tensor) -> float:
    return float((found == labels).float().mean())


# --- assignment -----------------------------------------------------------------------------------------------


def test_as_many_clusters_as_classes_get_the_likeliest_one_to_one_map() -> None:
    """Against all 120 maps of five clusters."""
    evidence = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    best = max(permutations(range(5)), key=lambda order: sum(float(evidence[c, k]) for c, k in enumerate(order)))
    assert named_by(evidence).tolist() == list(best)


def test_more_clusters_than_classes_name_every_class_and_give_the_rest_their_best() -> None:
    evidence = torch.tensor([[5.0, 0.0], [4.0, 0.0], [3.0, 2.9]])
    assert named_by(evidence).tolist() == [0, 0, 1]


def test_fewer_clusters_than_classes_get_different_names() -> None:
    evidence = torch.tensor([[3.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
    assert named_by(evidence).tolist() == [1, 0]


def test_evidence_that_is_no_number_still_gives_a_map() -> None:
    evidence = torch.tensor([[torch.nan, torch.nan], [0.0, torch.nan]])
    assert sorted(named_by(evidence).tolist()) == [0, 1]


# --- sources of evidence --------------------------------------------------------------------------------------


def test_one_known_label_a_class_names_pure_clusters_of_77_classes() -> None:
    labels = torch.arange(770) % 77
    ids = tuple(f"{i:016x}" for i in range(770))
    names = tuple(str(k) for k in range(77))
    clusters = (labels * 5 + 3) % 77
    public = Public({}, names, known=tuple(Known(ids[i], names[int(labels[i])]) for i in range(77)))
    assert torch.equal(name_clusters(clusters, public, ids, torch.empty(770, 1, 0)), labels)


def test_the_verbaliser_reads_the_last_block_that_a_device_has_and_none_below_it(micro: Micro) -> None:
    """Two of three blocks: against the norm and the head on the second block's states. A cut's states say nothing."""
    planted = from_run(micro, probe(), made("fedmobillm", fleet=Fleet(1), depths=(2,), selector="last"))
    states = crossed_states(planted.view, planted.public)[1]
    backbone = micro.backbone("opt")
    with torch.no_grad():
        said = backbone.model.model.decoder.final_layer_norm(states[:, 1]) @ verbaliser(backbone, LABELS).T
    expected = (said - said.mean(0)) / said.std(0, correction=0)
    found = verbalised(states, planted.public)
    assert found is not None
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    cut = from_run(micro, probe(), split(cut=2))
    assert verbalised(crossed_states(cut.view, cut.public)[1], cut.public) is None


def test_known_labels_of_strange_samples_say_nothing() -> None:
    public = Public({}, ("a", "b"), known=(Known("elsewhere", "a"),))
    assert known_evidence(torch.tensor([0, 1]), public, ("x", "y")).count_nonzero() == 0


def test_unequal_priors_alone_name_clusters_by_their_sizes() -> None:
    labels = torch.tensor([0] * 12 + [1] * 55 + [2] * 33)
    public = Public({}, ("a", "b", "c"), priors=(0.1, 0.6, 0.3))
    named = name_clusters((labels + 1) % 3, public, tuple(map(str, range(100))), torch.empty(100, 1, 0))
    assert torch.equal(named, labels)


def test_equal_priors_prefer_no_name() -> None:
    evidence = size_evidence(torch.tensor([0, 0, 0, 1]), Public({}, ("a", "b"), priors=(0.5, 0.5)))
    torch.testing.assert_close(evidence[:, 0], evidence[:, 1])


def test_a_codewords_share_is_compared_with_its_part_of_the_prior() -> None:
    """Of shares 3/8, 3/8, 1/8, 1/8, the first two are the codewords of a class with 3/4 of the rows."""
    clusters = torch.tensor([0, 0, 0, 1, 1, 1, 2, 3]).repeat(10)
    evidence = size_evidence(clusters, Public({}, ("a", "b"), priors=(0.75, 0.25)), each=2)
    assert evidence.argmax(1).tolist() == [0, 0, 1, 1]


def test_auxiliary_texts_and_class_names_name_the_true_clusters_of_a_run(micro: Micro) -> None:
    """With auxiliary texts under the subjects' names, and by name alone where classes are called by their keywords."""
    planted = from_run(micro, probe(), pae())
    ids, states = crossed_states(planted.view, planted.public)
    labels = torch.tensor([planted.truth.labels[i] for i in ids])
    clusters = (labels * 5 + 1) % len(LABELS)
    for public in (planted.public, named_by_keywords(planted).public):
        assert torch.equal(name_clusters(clusters, public, ids, states), labels)


# --- states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "protocol",
    [pae(), pae(selector="last", precision="int8"), mobillm(precision="int4"), split(), split(cut=2)],
    ids=["pae", "pae-last", "mobillm", "split", "split-2"],
)
def test_states_of_a_text_are_those_that_cross(micro: Micro, protocol: Protocol) -> None:
    """Auxiliary texts that happen to be the victim's give the victim's states, whatever the protocol sends."""
    planted = from_run(micro, probe(), protocol)
    ids, crossed = crossed_states(planted.view, planted.public)
    where = {sample_id: i for i, sample_id in enumerate(ids)}
    same = replace(planted.public, auxiliary=tuple(Example(s.text, s.label) for s in VICTIM))
    states, labels = auxiliary_states(same)
    assert labels.tolist() == [planted.truth.labels[s.id] for s in VICTIM]
    torch.testing.assert_close(states, crossed[[where[s.id] for s in VICTIM]], atol=2e-2, rtol=1e-2)


def test_class_name_states_are_the_mean_over_the_templates(micro: Micro) -> None:
    public = replace(from_run(micro, probe(), pae()).public, labels=("tulip",))
    texts = tuple(Example(template.format("tulip"), "tulip") for template in TEMPLATES)
    alone, _ = auxiliary_states(replace(public, auxiliary=texts))
    torch.testing.assert_close(class_name_states(public), alone.mean(0, keepdim=True))


# --- classifier -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 20])
def test_the_classifier_is_at_least_as_good_as_scikit_learns_shrunk_one(classes: int) -> None:
    (train, given), (test, labels) = points(30, classes, 60, 0.5, 1), points(50, classes, 60, 0.5, 2)
    other = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(train.flatten(1).numpy(), given.numpy())
    theirs = accuracy(torch.from_numpy(other.predict(test.flatten(1).numpy())), labels)
    assert accuracy(probabilities(train, given, test, classes).argmax(1), labels) >= theirs - 0.01


def test_chances_mean_what_they_say_on_held_out_rows() -> None:
    """The mean chance of the guess is near the share of right guesses, although the rows are few and wide."""
    (train, given), (test, labels) = points(15, 10, 100, 0.3, 1), points(100, 10, 100, 0.3, 2)
    chances = probabilities(train, given, test, 10)
    right = accuracy(chances.argmax(1), labels)
    assert 0.2 < right < 0.9
    assert float(chances.max(1).values.mean()) == pytest.approx(right, abs=0.1)


def test_a_class_without_a_row_gets_no_chance_and_no_row_means_equal_chances() -> None:
    states, labels = points(10, 3, 8, 2.0, 1)
    chances = probabilities(states[labels != 1], labels[labels != 1], states, 3)
    assert chances[:, 1].count_nonzero() == 0
    torch.testing.assert_close(chances.sum(1), torch.ones(len(states)))
    nobody = probabilities(states[:0], labels[:0], states, 3)
    torch.testing.assert_close(nobody, torch.full((len(states), 3), 1 / 3))


@pytest.mark.parametrize("a_class", [1, 2, 6])
def test_constant_missing_and_infinite_columns_do_not_break_the_classifier(a_class: int) -> None:
    states, labels = points(a_class, 4, 12, 3.0, 1)
    states[:, :, 0] = 7.0
    states[0, 0, 1], states[1, 0, 2] = torch.nan, torch.inf
    test, truth = points(20, 4, 12, 3.0, 2)
    found = probabilities(states, labels, test, 4)
    assert found.isfinite().all()
    assert accuracy(found.argmax(1), truth) > 0.7  # one in four without knowledge
    assert probabilities(torch.zeros_like(states), labels, test, 4).isfinite().all()


def test_variants_of_a_row_do_not_fool_the_choice_of_shrinkage() -> None:
    """Each row stands there five times: with its copies kept together, chances stay honest."""
    (train, given), (test, labels) = points(8, 10, 100, 0.3, 1), points(100, 10, 100, 0.3, 2)
    rows, groups = train.flatten(1).repeat(5, 1), torch.arange(len(given)).repeat(5)
    together = fitted(rows, given.repeat(5), 10, groups=groups).probabilities(test.flatten(1))
    apart = fitted(rows, given.repeat(5), 10).probabilities(test.flatten(1))
    right = accuracy(together.argmax(1), labels)
    assert float(together.max(1).values.mean()) == pytest.approx(right, abs=0.15)
    assert float(apart.max(1).values.mean()) > right + 0.15
