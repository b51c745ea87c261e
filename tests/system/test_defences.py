"""What each defence does to a difference, what the device gets back, and which settings are refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats

from sidelight.system.data import Sample
from sidelight.system.defences import DEFENCES, Defence
from sidelight.system.defences.code import Code
from sidelight.system.defences.decoy import Decoy, spliced
from sidelight.system.defences.defence import Budget
from sidelight.system.defences.guard import Guard, budget, decoys, relabelled
from sidelight.system.defences.label_dp import LabelDP
from sidelight.system.defences.noise import Noise
from sidelight.system.defences.permute import Permute
from sidelight.system.defences.rotate import Rotate
from sidelight.system.defences.scale import Scale
from sidelight.system.defences.secret_head import SecretHead
from sidelight.system.difference import DifferenceKind, difference
from sidelight.system.errors import UsageError
from sidelight.system.heads import scores
from sidelight.system.randomness import Streams

from ..contracts.micro import WIDTH, Micro

CLASSES = 6
LABELS = torch.arange(300) % CLASSES
PIVOTS = torch.randn(300, WIDTH, generator=torch.Generator().manual_seed(2))
HEAD = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(3))
STREAMS = Streams("the secret seed")


def guard(*defences: Defence, kind: DifferenceKind = "logit", head: torch.Tensor = HEAD) -> Guard:
    return Guard(defences, kind, 5.0, head, STREAMS)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sent(micro: Micro, *defences: Defence, kind: DifferenceKind = "logit") -> torch.Tensor:
    return guard(*defences, kind=kind).difference(micro.backbone("opt"), PIVOTS, LABELS, generator())


def plain(micro: Micro, kind: DifferenceKind = "logit") -> torch.Tensor:
    """What an undefended device sends, by the formula itself."""
    return difference(kind, scores(HEAD, micro.backbone("opt"), PIVOTS), LABELS, 5.0)


def test_every_defence_says_what_it_is() -> None:
    for name, defence in DEFENCES.items():
        assert defence.name == name
        assert defence.__module__.rpartition(".")[2] == name.replace("-", "_")
        assert defence.title
        assert defence.source


@pytest.mark.parametrize("kind", ["probability", "logit"])
def test_without_defences_the_difference_itself_is_sent(micro: Micro, kind: DifferenceKind) -> None:
    torch.testing.assert_close(sent(micro, kind=kind), plain(micro, kind), rtol=0, atol=0)


def test_a_permutation_reorders_every_row_alike(micro: Micro) -> None:
    found, before = sent(micro, Permute()), plain(micro)
    order = [int((column == before.T).all(1).nonzero()) for column in found.T]
    assert sorted(order) == list(range(CLASSES))
    assert order != list(range(CLASSES))


def test_a_rotation_keeps_all_angles_and_lengths(micro: Micro) -> None:
    found, before = sent(micro, Rotate()), plain(micro)
    torch.testing.assert_close(found @ found.T, before @ before.T, atol=1e-3, rtol=1e-4)
    assert not torch.allclose(found, before, atol=0.1)


def test_a_scale_is_one_factor_for_all_or_one_for_each(micro: Micro) -> None:
    one = sent(micro, Scale()) / plain(micro)
    each = sent(micro, Scale(per_sample=True)) / plain(micro)
    assert float(one.max() - one.min()) < 1e-4
    assert 0.25 <= float(one[0, 0]) <= 4
    torch.testing.assert_close(each, each[:, :1].expand(-1, CLASSES), rtol=1e-4, atol=0)
    assert float(each.std()) > 0.5
    mean = 3.75 / (2 * math.log(4))  # of exp(u), u uniform between -ln 4 and ln 4
    assert ((each >= 0.2499 / mean) & (each <= 4.001 / mean)).all()
    assert float(each.mean()) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("defence", [Permute(per_sample=True), Rotate(per_sample=True)])
def test_a_fresh_key_for_each_sample_keeps_lengths_and_leaves_no_common_map(micro: Micro, defence: Defence) -> None:
    found, before = sent(micro, defence), plain(micro)
    torch.testing.assert_close(found.norm(dim=1), before.norm(dim=1))
    fitted = before @ torch.linalg.lstsq(before, found).solution
    assert float((found - fitted).norm()) > 0.8 * float(found.norm())


@pytest.mark.parametrize(
    "defences",
    [(Permute(),), (Rotate(),), (Scale(),), (SecretHead(),), (Permute(), Scale()), (Scale(), Rotate(), SecretHead())],
    ids=lambda defences: "+".join(d.name for d in defences),
)
@pytest.mark.parametrize("kind", ["probability", "logit"])
def test_the_device_gets_the_labels_back_from_what_it_sent(
    micro: Micro, defences: tuple[Defence, ...], kind: DifferenceKind
) -> None:
    held = guard(*defences, kind=kind)
    backbone = micro.backbone("opt")
    outputs = held.difference(backbone, PIVOTS, LABELS, generator())
    expected = (5.0 if kind == "logit" else 1.0) * torch.nn.functional.one_hot(LABELS, CLASSES).float()
    torch.testing.assert_close(held.reading.scores(backbone, PIVOTS, outputs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("code", [Code(), Code(width=3, words=1), Code(width=200, share=False), Code(words=16)])
def test_the_device_reads_every_class_from_codewords_of_any_width(micro: Micro, code: Code) -> None:
    held = guard(code, Rotate())
    backbone = micro.backbone("opt")
    outputs = held.difference(backbone, PIVOTS, LABELS, generator())
    assert outputs.shape == (300, code.width)
    found = held.reading.scores(backbone, PIVOTS, outputs)
    assert found.shape == (300, CLASSES)
    assert float((found.argmax(1) == LABELS).float().mean()) > (0.99 if code.words == 1 else 0.7)


def test_codewords_have_the_targets_height_and_each_sample_draws_its_own(micro: Micro) -> None:
    held = guard(Code(width=32, words=4, share=False))
    found = held.difference(micro.backbone("opt"), PIVOTS, LABELS, generator())
    torch.testing.assert_close(found.norm(dim=1), torch.full((300,), 5.0))
    assert len(found.unique(dim=0)) == 4 * CLASSES


def test_a_secret_share_makes_equal_codewords_differ(micro: Micro) -> None:
    assert len(sent(micro, Code(width=32, words=1)).unique(dim=0)) == 300


@pytest.mark.parametrize(("epsilon", "classes"), [(0.5, 2), (2.0, 20), (4.0, 77)])
def test_a_randomised_label_stays_with_the_probability_of_randomised_response(epsilon: float, classes: int) -> None:
    labels = torch.arange(200_000) % classes
    found = LabelDP(epsilon).relabel(labels, classes, generator())
    stays = math.exp(epsilon) / (math.exp(epsilon) + classes - 1)
    share = float((found == labels).float().mean())
    assert share == pytest.approx(stays, abs=4 * math.sqrt(stays * (1 - stays) / 200_000))
    others = torch.bincount(found[(labels == 0) & (found != 0)], minlength=classes)[1:].double().numpy()
    assert len(others) == 1 or stats.chisquare(others).pvalue > 0.001


def test_a_label_is_drawn_once_for_a_device() -> None:
    drawn = [relabelled([LabelDP(1.0)], LABELS, CLASSES, STREAMS, "device-0") for _ in range(2)]
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], relabelled([LabelDP(1.0)], LABELS, CLASSES, STREAMS, "device-1"))
    assert not torch.equal(drawn[0], LABELS)


def test_noise_has_the_deviation_of_its_budget(micro: Micro) -> None:
    """Sensitivity sqrt(2) times the logits' scale; at epsilon 4 and delta 1e-5 a deviation of 1.0812 times that."""
    found = sent(micro, Noise(epsilon=4.0)) - plain(micro)
    assert float(found.std()) == pytest.approx(1.0812 * math.sqrt(2) * 5, rel=0.06)
    assert guard().targets.sensitivity == pytest.approx(5 * math.sqrt(2))
    assert guard(kind="probability").targets.sensitivity == pytest.approx(math.sqrt(2))


def test_the_strongest_promise_holds_where_two_follow_each_other() -> None:
    assert budget([Rotate()], 20) is None
    assert budget([LabelDP(2.0), Noise(epsilon=1.0)], 20) == Budget(1.0, 1e-5, "label")
    assert budget([LabelDP(0.5), Noise(epsilon=1.0)], 20) == Budget(0.5, 0.0, "label")


def test_decoys_are_made_of_halves_of_texts_with_classes_beyond_the_real_ones() -> None:
    rows = [Sample(f"{i:016x}", f"one two three{i} four", "a", ()) for i in range(400)]
    found = decoys([Decoy(classes=3, samples=0.5)], rows, CLASSES, STREAMS, "device-0")
    assert len(found) == 200
    assert {len(sample.id) for sample in found} == {16}
    assert {sample.id for sample in found}.isdisjoint(row.id for row in rows)
    assert set(found.values()) == set(range(CLASSES + 3))
    assert spliced("a b c", "d e f g") == "a b f g"


def test_decoy_classes_widen_the_difference_and_the_device_ignores_them(micro: Micro) -> None:
    held = guard(Decoy(classes=3), kind="probability")
    outputs = held.difference(micro.backbone("opt"), PIVOTS, LABELS, generator())
    assert outputs.shape == (300, CLASSES + 3)
    assert torch.equal(held.reading.scores(micro.backbone("opt"), PIVOTS, outputs).argmax(1), LABELS)
    assert held.public_head is not None
    assert torch.equal(held.public_head, HEAD)


def test_keys_are_public_only_where_a_control_reveals_them(micro: Micro) -> None:
    secret, shown = guard(SecretHead(), Rotate()), guard(SecretHead(), Rotate(revealed=True))
    assert secret.public_head is None
    assert secret.keys == {}
    assert shown.public_head is not None
    backbone = micro.backbone("opt")
    values = secret.difference(backbone, PIVOTS, LABELS, generator())
    undone = torch.linalg.solve(shown.keys["transform"], values.T).T
    expected = difference("logit", scores(shown.public_head, backbone, PIVOTS), LABELS, 5.0)
    torch.testing.assert_close(undone, expected, atol=1e-4, rtol=0)


def test_a_revealed_book_holds_the_codewords_at_height_one() -> None:
    book = guard(Code(width=8, words=3, revealed=True)).keys["book"]
    assert book.shape == (CLASSES, 3, 8)
    torch.testing.assert_close(book.norm(dim=2), torch.ones(CLASSES, 3))


@pytest.mark.parametrize("name", DEFENCES)
def test_a_key_can_be_revealed_exactly_where_there_is_one(name: str) -> None:
    defence = DEFENCES[name]()
    shown = defence.shown()
    assert (shown is not None) == defence.keyed
    assert shown is None or shown == replace(defence, revealed=True)


@pytest.mark.parametrize(
    ("defence", "weakest"),
    [
        (LabelDP(2.0), LabelDP(20.0)),
        (LabelDP(50.0), LabelDP(50.0)),
        (Noise(epsilon=2.0, delta=1e-6), Noise(epsilon=1000.0, delta=1e-6)),
        (Noise(epsilon=5000.0), Noise(epsilon=5000.0)),
        (Scale(spread=4.0, per_sample=True), Scale(spread=1.0, per_sample=True)),
        (Code(width=9, words=4), Code(width=9, words=1)),
        (Decoy(classes=4, samples=0.25), Decoy(classes=0, samples=0.01)),
        (Decoy(classes=0, samples=0.005), Decoy(classes=0, samples=0.005)),
        (Permute(), None),
        (Rotate(per_sample=True), None),
        (SecretHead(), None),
    ],
)
def test_the_weakest_strength_is_never_above_a_defences_own(defence: Defence, weakest: Defence | None) -> None:
    assert defence.weakest() == weakest


def test_decoy_samples_without_decoy_classes_go_with_codes(micro: Micro) -> None:
    held = guard(Code(width=8, words=2), Decoy(classes=0))
    assert held.difference(micro.backbone("opt"), PIVOTS, LABELS, generator()).shape == (300, 8)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("label-dp", {"epsilon": 0.0}, "the epsilon of label-dp is 0.0; give a positive number"),
        ("label-dp", {"epsilon": -1.0}, "the epsilon of label-dp is -1.0; give a positive number"),
        ("noise", {"epsilon": 0.0}, "the epsilon of noise is 0.0; give a positive number"),
        ("label-dp", {"epsilon": 1000.0}, "the epsilon of label-dp is 1000, which protects nothing; give at most 100"),
        ("noise", {"epsilon": 1e12}, "the epsilon of noise is 1e+12, which protects nothing; give at most 10000"),
        ("noise", {"delta": 0.0}, "the delta of noise is 0.0; give a number above 0 and at most 0.001"),
        ("noise", {"delta": 0.9}, "the delta of noise is 0.9; give a number above 0 and at most 0.001"),
        ("code", {"width": 0}, "the width of code is 0; give at least 1"),
        ("code", {"words": 0}, "code has 0 words a class; give at least 1"),
        ("scale", {"spread": 0.5}, "the spread of scale is 0.5; give 1, which changes nothing, or more"),
        ("decoy", {"samples": 0.0}, "the samples of decoy are 0.0; give a share above 0 and at most 10"),
        ("decoy", {"samples": 11.0}, "the samples of decoy are 11.0; give a share above 0 and at most 10"),
        ("decoy", {"classes": -1}, "decoy has -1 classes; give 0 or more"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_in_a_sentence(name: str, settings: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        DEFENCES[name](**settings)  # type: ignore[arg-type]
    assert str(refusal.value) == said


def test_defences_that_do_not_go_together_are_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="decoys among 1 class say nothing; give data with at least 2 classes"):
        guard(Decoy(), head=HEAD[:1])
    with pytest.raises(UsageError, match="codes take the place of logits; give difference = logit"):
        guard(Code(), kind="probability")
    with pytest.raises(UsageError, match="code has a secret head of its own; leave secret-head away"):
        _ = guard(Code(), SecretHead()).targets
    with pytest.raises(UsageError, match="code draws a secret head of its own; leave secret-head away"):
        _ = guard(SecretHead(), Code()).targets
    with pytest.raises(UsageError, match="decoy classes widen one-hot differences; leave code away"):
        _ = guard(Code(), Decoy()).targets
