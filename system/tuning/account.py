"""What a tuning has cost so far, over all processes that it took."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .. import files
from ..message import Party
from ..wire import Traffic

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Costs:
    """Counts; bytes are those of messages, without what a network adds."""

    uplink_bytes: int = 0
    downlink_bytes: int = 0
    payload_bytes: int = 0
    """Of tensors alone, both ways."""
    messages: int = 0
    """Both ways."""
    seconds: float = 0.0
    peak_resident_bytes: int = 0
    releases: int = 0
    """How often a sample was sent with bytes of its own, at most."""
    resumed: int = 0
    """Processes after the first."""


class Account:
    """Adds a process's costs to what was written down: one that is killed loses the count of its last few messages."""

    def __init__(self, path: Path, party: Party) -> None:
        self._path, self._party, self._began = path, party, time.monotonic()
        self._before = Costs()
        if path.exists():
            found = Costs(**files.read_json(path))
            self._before = replace(found, resumed=found.resumed + 1)
        self.costs = self._before

    def add_time(self) -> None:
        """What this process has taken by now, where nothing more crosses."""
        seconds = self._before.seconds + time.monotonic() - self._began
        most = max(self.costs.peak_resident_bytes, peak_resident())
        self._write(replace(self.costs, seconds=seconds, peak_resident_bytes=most))

    def add(self, traffic: Traffic, releases: int) -> None:
        """What this process has cost by now."""
        before, party = self._before, self._party
        self.costs = replace(
            before,
            uplink_bytes=before.uplink_bytes + traffic.sent_by(party),
            downlink_bytes=before.downlink_bytes + traffic.received_by(party),
            payload_bytes=before.payload_bytes + traffic.payload.total(),
            messages=before.messages + traffic.messages.total(),
            releases=max(before.releases, releases),
        )
        self.add_time()

    def _write(self, costs: Costs) -> None:
        self.costs = costs
        files.write_json(self._path, asdict(costs))


def peak_resident() -> int:
    """The most bytes that were resident in this process."""
    if STATUS.exists():  # elsewhere than on Linux there is no such file
        found = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text("utf-8"), re.M)
        if found is not None:
            return int(found[1]) * 1024
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
