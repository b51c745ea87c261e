"""An attack without what it reads is not exposed; with it in another form, or without public knowledge, it does not
apply."""

from __future__ import annotations

from typing import Any

import pytest

from sidelight.attacks import ATTACKS
from sidelight.audits.cells.applies import outside
from sidelight.system.protocols.pae_lm import PAELM
from sidelight.system.public import ITEMS
from sidelight.system.roles import SERVER

from ..contracts.micro import Micro, make_scene

EVERYTHING = frozenset({"backbone", "head", "auxiliary", "queries"})
PAE = frozenset({"activations", "difference", "held:tuned"})
MOBILLM = frozenset({"activations", "labels", "held:tuned"})
PIVOT = {"difference": "probability", "positions": "pivot", "fusion": "additive"}
FULL = {"positions": "all", "fusion": "side"}


@pytest.mark.parametrize(("name", "shown", "facts"), [("sign", PAE, PIVOT), ("plaintext", MOBILLM, FULL)])
def test_an_attack_whose_kind_crosses_applies(name: str, shown: frozenset[str], facts: dict[str, Any]) -> None:
    assert outside(ATTACKS[name](), shown, EVERYTHING, facts) is None


@pytest.mark.parametrize(
    ("name", "shown", "words"),
    [
        ("sign", MOBILLM, "the adversary never receives difference"),
        ("plaintext", PAE, "the adversary never receives labels"),
        ("match", frozenset[str](), "the adversary never receives activations"),
        ("addback", frozenset[str](), "the adversary never receives activations or difference"),
    ],
)
def test_a_kind_that_never_crosses_is_a_finding(name: str, shown: frozenset[str], words: str) -> None:
    found = outside(ATTACKS[name](), shown, EVERYTHING, FULL | PIVOT)
    assert found == ("not_exposed", words)


def test_what_the_threat_model_withholds_makes_an_attack_not_applicable() -> None:
    found = outside(ATTACKS["match"](), MOBILLM, EVERYTHING - {"backbone"}, FULL)
    assert found == ("not_applicable", "the adversary does not have: backbone")


def test_a_kind_in_another_form_makes_an_attack_not_applicable_not_unexposed() -> None:
    found = outside(ATTACKS["match"](), PAE, EVERYTHING, PIVOT)
    assert found is not None
    assert found.status == "not_applicable"
    assert found.reason == "positions is pivot; the attack takes all"


def test_exposure_is_asked_before_public_knowledge() -> None:
    found = outside(ATTACKS["match"](), frozenset(), frozenset(), PIVOT)
    assert found is not None
    assert found.status == "not_exposed"


TAKES_LANGUAGE = {"ezmia", "match", "probe", "read", "readoff", "replay", "retrieve", "spelled", "support"}


def test_attacks_on_classes_do_not_apply_where_the_difference_is_about_next_tokens(micro: Micro) -> None:
    """Even with everything public, a key included: what crosses is of another form."""
    protocol = PAELM()
    scene = make_scene(micro.backbone("opt"))
    facts, items = protocol.public_facts(scene), frozenset(ITEMS)
    found = {name: outside(ATTACKS[name](), protocol.shows[SERVER], items, facts) for name in ATTACKS}
    assert {name for name, reason in found.items() if reason is None} == TAKES_LANGUAGE
    assert found["sign"] == (
        "not_applicable",
        "difference is sparse probability; the attack takes probability or logit",
    )
