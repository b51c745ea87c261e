"""Labels from activations alone: by auxiliary texts, and by nothing but the class names."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sidelight.attacks import ATTACKS, Attack
from sidelight.attacks.attack import LabelGuess
from sidelight.attacks.evidence.labels.augmented import augmented, shortened
from sidelight.attacks.evidence.labels.reading import shared
from sidelight.attacks.evidence.states import TEMPLATES
from sidelight.system.errors import UsageError
from sidelight.system.protocols import Protocol
from sidelight.system.public import Example

from ..contracts.leaks_texts import named_by_keywords, probe
from ..contracts.leaks_transformed import behind, rotated
from ..contracts.micro import Micro
from ..contracts.planted import Planted, attacked, from_run, mobillm, pae, split

PROTOCOLS = {
    "pae": pae(),
    "pae-int4": pae(precision="int4"),
    "mobillm": mobillm(precision="int4"),
    "split": split(),
    "split-2": split(cut=2),
    "split-trainable": split(bottom="trainable"),
}
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)


def share(planted: Planted) -> float:
    """Labels found, of all."""
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    found = zip(guess.ids, guess.labels.tolist(), strict=True)
    return [planted.truth.labels[i] == label for i, label in found].count(True) / len(planted.truth.labels)


def read() -> Attack:
    return ATTACKS["read"]()


def outputs() -> Attack:
    return replace(ATTACKS["cluster"](), **{"sources": "outputs"})


@every_protocol
def test_a_probe_reads_labels_of_whatever_positions_and_layers_cross(micro: Micro, protocol: Protocol) -> None:
    """Six classes; the trainable bottom moves within the first pass already."""
    assert share(from_run(micro, probe(variants=0, names=False), protocol)) >= 0.85


@every_protocol
def test_class_names_alone_read_labels_where_texts_hold_them(micro: Micro, protocol: Protocol) -> None:
    assert share(named_by_keywords(from_run(micro, read(), protocol))) >= 0.85


def test_a_held_side_network_settles_what_activations_leave_open_behind_any_rotation(micro: Micro) -> None:
    """The last position alone says little of the class name; the side network's outputs say who belongs together."""
    planted = named_by_keywords(from_run(micro, outputs(), pae(selector="last")))
    assert share(planted) == 1.0
    assert share(behind(planted, rotated)) == 1.0
    assert share(replace(planted, attack=read())) < 0.7


def test_reading_uses_no_label_even_where_it_has_some(micro: Micro) -> None:
    named = named_by_keywords(from_run(micro, read(), pae()))
    told = from_run(micro, read(), pae()).public.auxiliary
    with_labels = replace(named, public=replace(named.public, auxiliary=told))
    first, second = attacked(named), attacked(with_labels)
    assert isinstance(first, LabelGuess)
    assert isinstance(second, LabelGuess)
    assert torch.equal(first.labels, second.labels)


def test_class_shares_follow_the_priors_where_they_are_known() -> None:
    likeness = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) / 10
    torch.testing.assert_close(
        shared(likeness, (0.6, 0.3, 0.1)).mean(0), torch.tensor([0.6, 0.3, 0.1]), atol=0.01, rtol=0
    )
    assert float((shared(likeness, ()).mean(0) - 1 / 3).abs().max()) < 0.05


def test_a_shortened_text_keeps_its_words_in_order_and_never_ends_up_empty() -> None:
    generator = torch.Generator().manual_seed(0)
    text = " ".join(str(i) for i in range(1000))
    kept = shortened(text, 0.25, generator).split()
    assert kept == sorted(kept, key=int)
    assert 700 < len(kept) < 800
    assert all(shortened("one", 0.9, generator) == "one" for _ in range(20))


def test_texts_to_learn_from_are_the_attackers_own_their_variants_and_every_name_in_every_template() -> None:
    examples = (Example("the card is lost", "card_lost"), Example("pay my bill", "bill"))
    learnt = augmented(examples, ("bill", "card_lost"), torch.Generator().manual_seed(0), variants=2)
    assert learnt.texts[:2] == ("the card is lost", "pay my bill")
    assert learnt.labels[:6].tolist() == [1, 0] * 3  # each text, and each of its variants
    assert learnt.groups[:6].tolist() == [0, 1] * 3
    names = learnt.texts[6:]
    assert [label for label, text in zip(learnt.labels[6:].tolist(), names, strict=True) if "card lost" in text] == [
        1
    ] * len(TEMPLATES)
    assert len(names) == 2 * len(TEMPLATES)
    assert len(set(learnt.groups[6:].tolist()) | {0, 1}) == 2 + len(names)  # no name is another's variant


@pytest.mark.parametrize(
    ("name", "settings", "what"),
    [
        ("probe", {"variants": -1}, "variants"),
        ("probe", {"dropped": 1.0}, "dropped"),
        ("read", {"passes": 0}, "passes"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, settings: dict[str, float], what: str) -> None:
    with pytest.raises(UsageError, match=f"^{what} is"):
        replace(ATTACKS[name](), **settings)
