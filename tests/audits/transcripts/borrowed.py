"""Command lines typed in this process, with workers that are there already."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from sidelight.audits.sandbox.workers import Workers
from sidelight.system import command


def borrowing(workers: Workers) -> Callable[..., AbstractContextManager[Workers]]:
    return lambda **_: nullcontext(workers)


def typed(*arguments: object) -> int:
    """The exit status of `sidelight` with these arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sidelight", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code
