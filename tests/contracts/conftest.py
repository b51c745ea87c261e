"""The two micro backbones, made once a session."""

from __future__ import annotations

import pytest

from .micro import Micro, make_micro


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Micro:
    """Random-weight backbones, OPT and Llama, saved in a temporary folder."""
    return make_micro(tmp_path_factory.mktemp("micro"))
