"""A link that the kernel shapes: two virtual devices, one of them in a network namespace, each at a rate by tbf."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ...system.errors import UsageError
from .links import AROUND, SEGMENT, Link

NET = "198.18.7"
"""Of the addresses that RFC 2544 sets apart for benchmarks."""
BURST, QUEUE = SEGMENT + AROUND + 86, 4_000_000
"""Bytes that may pass at once, at least, and that wait for their turn. What a link saves up while it is idle passes at
once: little, so that it is no faster than its rate."""
TICK = 0.001
"""Seconds that the kernel may wake up late without loss of rate."""


class Ends(NamedTuple):
    """A link's ends."""

    host: str
    """Of the server's end."""
    inside: Sequence[str]
    """What a command begins with to run at the device's end."""


@contextmanager
def shaped(link: Link | None) -> Iterator[Ends]:
    """Exists while the block runs, at full speed where no link is given; UsageError where the machine has none."""
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing or os.geteuid():
        raise UsageError(
            f"a shaped link needs root and {' and '.join(missing) or 'its rights'}; have the proxy shape it"
        )
    name = f"sidelight-{os.getpid()}"
    inside = ("ip", "netns", "exec", name)
    here, there = f"sl{os.getpid() % 10**7}a", f"sl{os.getpid() % 10**7}b"
    try:
        _done("ip", "netns", "add", name)
        _done("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        for before, device, last in (((), here, 1), (inside, there, 2)):
            _done(*before, "ip", "addr", "add", f"{NET}.{last}/30", "dev", device)
            _done(*before, "ip", "link", "set", device, "up")
            if link is not None:
                _done(*before, *_tbf(device, link.downlink if last == 1 else link.uplink))
        yield Ends(f"{NET}.1", inside)
    finally:
        subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)
        subprocess.run(("ip", "link", "del", here), check=False, capture_output=True)


def _tbf(device: str, rate: float) -> Sequence[str]:
    burst = max(BURST, int(rate / 8 * TICK))
    sizes = ("rate", f"{int(rate)}bit", "burst", str(burst), "limit", str(QUEUE))
    return ("tc", "qdisc", "add", "dev", device, "root", "tbf", *sizes)


def _done(*command: str) -> None:
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode:
        raise UsageError(f"`{' '.join(command)}` says: {found.stderr.strip() or 'nothing'}; have the proxy shape it")
