"""What a benchmark's command is asked."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentTypeError

import pytest

from sidelight.benchmarks.asked import answered, positive
from sidelight.system.errors import UsageError


def test_a_whole_number_of_at_least_one_is_taken() -> None:
    assert [positive(typed) for typed in ("1", "20", "007")] == [1, 20, 7]


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "", "many", "²", "٣"])
def test_anything_else_is_refused_in_a_sentence(typed: str) -> None:
    with pytest.raises(ArgumentTypeError, match="whole number of at least 1; give one"):
        positive(typed)


def test_what_cannot_be_done_is_one_sentence_and_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    def refusing() -> int:
        raise UsageError("no such folder; give another")

    assert answered(refusing) == 2
    assert capsys.readouterr().err == "sidelight: no such folder; give another\n"


def test_a_command_that_is_told_to_end_clears_up() -> None:
    script = (
        "import os, signal\n"
        "from sidelight.benchmarks.asked import answered\n"
        "def main():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        signal.pause()\n"
        "    finally:\n"
        "        print('cleared')\n"
        "raise SystemExit(answered(main))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "cleared\n")


@pytest.mark.parametrize("status", [None, 0, 1])
def test_a_command_keeps_its_own_status(status: int | None) -> None:
    assert answered(lambda: status) == (status or 0)
