"""What a command of a benchmark is asked: numbers that make sense, and one sentence where it cannot be done."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from ..system.errors import SidelightError


def positive(typed: str) -> int:
    """A whole number of at least 1."""
    if not (typed.isascii() and typed.isdigit() and int(typed)):
        raise argparse.ArgumentTypeError(f"{typed!r} is no whole number of at least 1; give one")
    return int(typed)


def answered(main: Callable[[], int | None]) -> int:
    """A command's exit status: its own, or 2 behind one sentence where it was asked for what cannot be.

    A request to end (SIGTERM) ends it as any error does, so that what it made for a while goes: links, checkouts.
    """
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        return main() or 0
    except SidelightError as error:
        print(f"sidelight: {error}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)
