"""The errors a user meets."""

from __future__ import annotations

import pytest

from sidelight.system.errors import ProtocolError, SidelightError, UnknownName, UsageError


def test_wrong_input_and_wrong_peers_are_told_apart() -> None:
    assert issubclass(UnknownName, UsageError)
    assert issubclass(UsageError, SidelightError)
    assert issubclass(ProtocolError, SidelightError)
    assert not issubclass(ProtocolError, UsageError)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mobilm", "unknown protocol 'mobilm'; did you mean 'mobillm'? known: mobillm, pae, split"),
        ("zzz", "unknown protocol 'zzz'; known: mobillm, pae, split"),
    ],
)
def test_an_unknown_name_offers_the_nearest_and_the_whole_list(name: str, said: str) -> None:
    assert str(UnknownName("protocol", name, ["split", "pae", "mobillm"])) == said
