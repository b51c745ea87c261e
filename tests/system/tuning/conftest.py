"""An order on a few rows that the micro backbone can tell apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.system.tuning.order import Order

from ...contracts.micro import Micro
from .small import (
    order,
    rows_csv,
)


@pytest.fixture
def asked(tmp_path: Path, micro: Micro) -> Order:
    rows_csv(tmp_path)
    return order(tmp_path, micro)
