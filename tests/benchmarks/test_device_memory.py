"""What a device holds at most is measured: it sees a device that keeps more than it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("hoarding.py")


def test_a_device_holds_no_states_of_all_positions() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    plain, states = found["plain inference"], found["all_states"]
    assert 0 < plain["weights"] < plain["peak"]
    assert found["hoarding"]["peak"] - plain["peak"] > states / 2
    assert abs(found["device"]["peak"] - plain["peak"]) < states / 4
