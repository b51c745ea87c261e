"""Settings from a suite or a command line: built over the right defaults, or refused in one sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import Attack, Guess, LabelGuess, Prepared
from sidelight.audits.suites.threat import Threat
from sidelight.system.errors import UnknownName, UsageError
from sidelight.system.protocols import PROTOCOLS
from sidelight.system.public import Public
from sidelight.system.settings import build, changed
from sidelight.system.view import View


@dataclass(frozen=True)
class Training:
    """How long and in what portions."""

    epochs: int = 60
    batch: int = 32


@dataclass(frozen=True)
class Method:
    """Settings with a table whose defaults are not its class's."""

    kind: str = "plain"
    side: Training = Training(epochs=8, batch=16)


def test_nothing_given_is_the_default() -> None:
    assert build(Method, {}, "method") == Method()


def test_a_nested_table_lies_over_the_default_of_its_field_not_of_its_class() -> None:
    assert build(Method, {"side": {"epochs": 3}}, "method").side == Training(epochs=3, batch=16)


def test_mobillm_keeps_its_own_batch_where_only_epochs_are_given() -> None:
    default = asdict(PROTOCOLS["mobillm"]())
    made = asdict(build(PROTOCOLS["mobillm"], {"side": {"epochs": 3}}, "mobillm"))
    assert made["side"] == {**default["side"], "epochs": 3}
    assert made["side"]["batch"] == 16
    assert made == {**default, "side": made["side"]}


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("pae", {"diference": "logit"}, "unknown setting of pae 'diference'; did you mean 'difference'"),
        ("pae", {"side": {"epoch": 3}}, "unknown setting of pae.side 'epoch'; did you mean 'epochs'"),
        ("pae", {"side": 3}, "setting side of pae is 3; give a table"),
        ("pae", {"side": {"epochs": "many"}}, "setting side.epochs of pae is 'many'"),
        ("pae", {"difference": "logits"}, "setting difference of pae is 'logits': .*'probability' or 'logit'"),
        ("pae", {"scale": float("nan")}, "setting scale of pae is nan; give a finite number"),
        ("mobillm", {"side": {"learning_rate": float("inf")}}, "setting learning_rate of mobillm.side is inf"),
        ("mobillm", {"precision": "fp8"}, "setting precision of mobillm is 'fp8'"),
        ("split", {"bottom": None}, "setting bottom of split is None"),
        ("local", {"longest": 0}, "longest is 0; give at least 1 token"),
        ("local", {"lora": {"rank": 0}}, "rank is 0; give at least 1"),
    ],
)
def test_a_wrong_setting_of_a_protocol_is_refused_in_one_sentence(
    name: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        build(PROTOCOLS[name], settings, name)
    assert "\n" not in str(caught.value)


def test_settings_of_attacks_and_threats_are_checked_too() -> None:
    with pytest.raises(UnknownName, match="did you mean 'round'"):
        build(ATTACKS["match"], {"rond": 1}, "match")
    with pytest.raises(UnknownName, match="setting of threat 'adversry'; did you mean 'adversary'"):
        build(Threat, {"adversry": "server"}, "threat")
    with pytest.raises(UsageError, match="setting adversary of threat is 'peer'"):  # refused, not assumed harmless
        build(Threat, {"adversary": "peer"}, "threat")


def test_an_attack_without_settings_needs_no_decorator() -> None:
    class Plain(Attack):
        """A plug-in as its author might write it."""

        def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
            return LabelGuess((), torch.zeros(0, dtype=torch.int64))

    assert asdict(build(Plain, {}, "plain")) == {}
    with pytest.raises(UnknownName, match="unknown setting of plain 'round'"):
        build(Plain, {"round": 1}, "plain")


def test_changes_are_named_with_dots_and_equal_values_left_out() -> None:
    default = asdict(Method())
    assert changed(default, default) == {}
    assert changed(asdict(Method("plain", Training(8, 99))), default) == {"side.batch": 99}
    assert changed({**default, "kind": "other", "new": 1}, default) == {"kind": "other", "new": 1}
