"""Labels read, by sign and by adding back: on what they work, and on what they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import LabelGuess
from sidelight.system.defences.secret_head import SecretHead
from sidelight.system.message import Message
from sidelight.system.protocols import Protocol
from sidelight.system.public import Public
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.view import View

from ..contracts.micro import LABELS, VICTIM, Micro
from ..contracts.planted import Planted, attacked, from_run, mobillm, pae, split


def share(planted: Planted) -> float:
    """Labels found, of all that crossed."""
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    assert set(guess.ids) == {sample.id for sample in VICTIM}
    found = zip(guess.ids, guess.labels.tolist(), strict=True)
    right = [planted.truth.labels[i] == label for i, label in found]
    return right.count(True) / len(right)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
@pytest.mark.parametrize("secret", [False, True])
def test_sign_finds_every_label_of_a_probability_difference_whatever_the_head(
    micro: Micro, precision: str, secret: bool
) -> None:
    protocol = pae(head="linear", defences=(SecretHead(),) if secret else (), precision=precision)
    assert share(from_run(micro, ATTACKS["sign"](), protocol)) == 1.0


@pytest.mark.parametrize("family", ["opt", "llama"])
@pytest.mark.parametrize("difference", ["probability", "logit"])
@pytest.mark.parametrize("head", ["verbaliser", "linear"])
def test_addback_finds_every_label_with_a_public_head(micro: Micro, family: str, difference: str, head: str) -> None:
    protocol = pae(difference=difference, head=head)
    assert share(from_run(micro, ATTACKS["addback"](), protocol, family)) == 1.0


def test_addback_with_another_head_than_the_devices_misses_labels_of_a_logit_difference(micro: Micro) -> None:
    planted = from_run(micro, ATTACKS["addback"](), pae(difference="logit", scale=1.0, head="linear"))
    wrong = {"weight": torch.randn(len(LABELS), 32, generator=torch.Generator().manual_seed(9))}
    assert share(planted) == 1.0
    assert share(replace(planted, public=replace(planted.public, head=wrong))) < 0.7


def test_addback_joins_differences_and_activations_by_sample_id(micro: Micro) -> None:
    planted = from_run(micro, ATTACKS["addback"](), pae())
    backwards = [m for m in planted.view.messages if m.kind != "difference"]
    backwards += [m for m in reversed(list(planted.view.messages)) if m.kind == "difference"]
    assert share(replace(planted, view=replace(planted.view, messages=backwards))) == 1.0


def test_addback_guesses_only_where_both_kinds_crossed(micro: Micro) -> None:
    planted = from_run(micro, ATTACKS["addback"](), pae())
    first = next(planted.view.of("difference"))
    kept = [m for m in planted.view.messages if m is not first]
    guess = attacked(replace(planted, view=replace(planted.view, messages=kept)))
    assert isinstance(guess, LabelGuess)
    assert set(guess.ids) == {sample.id for sample in VICTIM} - set(first.sample_ids)


@pytest.mark.parametrize(
    "protocol",
    [mobillm(precision="int4"), split(), split(bottom="trainable")],
    ids=["mobillm", "split-frozen", "split-trainable"],
)
def test_plaintext_reads_every_label_that_crosses(micro: Micro, protocol: Protocol) -> None:
    assert share(from_run(micro, ATTACKS["plaintext"](), protocol)) == 1.0


def test_sign_takes_the_one_positive_entry() -> None:
    """By hand: one-hot of class 1 minus (0.2, 0.5, 0.3), and of class 2 minus (0.98, 0.01, 0.01)."""
    difference = torch.tensor([[-0.2, 0.5, -0.3], [-0.98, -0.01, 0.99]])
    message = Message("difference", DEVICE, SERVER, sample_ids=("0" * 16, "1" * 16), tensors={"difference": difference})
    view = View(frozenset({SERVER}), [message], {}, {})
    guess = ATTACKS["sign"]().run(view, Public({}, ("a", "b", "c")), {}, torch.Generator())
    assert isinstance(guess, LabelGuess)
    assert guess.labels.tolist() == [1, 2]
