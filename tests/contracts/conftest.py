"""The two micro backbones and the protocols' runs on them, made once a session."""

from __future__ import annotations

import pytest

from .micro import Micro, make_micro
from .variants import Runs


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Micro:
    """Random-weight backbones, OPT and Llama, saved in a temporary folder."""
    return make_micro(tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="session")
def runs(micro: Micro) -> Runs:
    """The runs that tests only read."""
    return Runs(micro)
