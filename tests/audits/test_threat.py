"""A relative of a private backbone: where it is taken, and how it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.suites.threat import Threat
from sidelight.system.errors import UsageError
from sidelight.system.settings import build


def threat(**values: Any) -> Threat:
    return build(Threat, values, "threat")


def test_a_private_backbone_may_have_a_packaged_or_a_local_relative(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for relative in ("", "sidelight-tiny", str(tmp_path)):
        assert threat(backbone="private", relative=relative).relative == relative


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"relative": "sidelight-tiny"}, "relative is 'sidelight-tiny' and the backbone itself is public"),
        ({"relative": "opt-125m", "backbone": "private"}, "relative is 'opt-125m', which is no local folder"),
        ({"relative": "./nowhere", "backbone": "private"}, "the backbone folder ./nowhere does not exist"),
    ],
)
def test_other_relatives_are_refused_in_one_sentence(values: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        threat(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"behaviour": "deviating"}, "claimed_losses is 0; a deviating server claims at least 1 loss"),
        ({"claimed_losses": 3}, "behaviour is 'honest-but-curious' and claimed_losses is 3"),
        ({"claimed_losses": -3}, "claimed_losses is -3; give 0 or more"),
        (
            {"behaviour": "deviating", "claimed_losses": 3, "adversary": "federation"},
            "adversary is 'federation'; only the server deviates",
        ),
    ],
)
def test_a_server_deviates_by_claims_and_in_no_other_way(values: dict[str, Any], message: str) -> None:
    assert threat(behaviour="deviating", claimed_losses=3).claimed_losses == 3
    with pytest.raises(UsageError, match=message):
        threat(**values)
