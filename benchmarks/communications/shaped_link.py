"""Whether modelled seconds are those of a real link: rate by the kernel's tbf, latency and loss by a proxy.

    python -m sidelight.benchmarks.communications.shaped_link [--most 0.1] [--proxy]

A device in a network namespace of its own sends activations of OPT-125M's shape, as `pae` does, to a server on this
machine, over gRPC on each link. What the same takes on a link that nothing shapes, software and all, is measured, too,
before and after, and taken off: the model is held against what the link adds. --proxy has the proxy shape the rate as
well, and so has a machine without root or tbf. Exits with status 1 where a link is more than --most from the model, and
with 3 where tbf was wanted and is not there.
"""

from __future__ import annotations

import argparse
import io
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...system.errors import UsageError
from ...system.network.logs import Log
from ...system.network.server import ServerSettings
from ..asked import answered
from ..beside import beside
from .delaying_proxy import delaying
from .far_device import SETTING
from .formulas import FORMULAS
from .links import LINKS, Link, load, seconds
from .namespaces import Ends, shaped

FREE = Link("unshaped", "nothing is delayed", 1e12, 1e12, 0.0)
LOSSY = replace(LINKS["LTE"], name="LTE with 2 % loss", source="own, so that loss is checked", loss=0.02)
SAMPLES = {"3G": 48, "LTE": 256, "5G": 640, "Wi-Fi": 480, LOSSY.name: 512}
"""Enough for some seconds on a link."""
TIMES = {True: 4, False: 2}
"""Runs on a link, by whether what is lost is drawn."""


class Timed(NamedTuple):
    """A link beside its model, in seconds."""

    link: Link
    samples: int
    modelled: float
    """The link's part, by the model."""
    software: float
    """What the same takes on a link that nothing shapes: the least of some measurements."""
    measured: float
    """The least of some runs, or the mean where what is lost is drawn."""

    @property
    def off(self) -> float:
        """As a share of what the link added to what software takes; endless where it added nothing."""
        added = self.measured - self.software
        return self.modelled / added - 1 if added > 0 else math.inf


def timed(link: Link, kernel: bool) -> Timed:
    """Runs on a link, and on one that nothing shapes."""
    samples = SAMPLES[link.name]
    free, measured = [run(FREE, samples, kernel, 0)], []
    for seed in range(TIMES[link.loss > 0]):
        measured.append(run(link, samples, kernel, seed))
        free.append(run(FREE, samples, kernel, seed))
    passed = load(FORMULAS["pae"](replace(SETTING, samples=samples)))
    modelled = seconds(link, passed, connecting=1)  # the proxy answers TCP's handshake at once
    found = sum(measured) / len(measured) if link.loss else min(measured)
    return Timed(link, samples, modelled, min(free), found)


def run(link: Link, samples: int, kernel: bool, seed: int) -> float:
    """Seconds of one run, by the device's clock."""
    rated = not kernel and link is not FREE
    with (
        _ends(None if link is FREE else link, kernel) as ends,
        tempfile.TemporaryDirectory(prefix="sidelight-") as folder,
    ):
        served = ServerSettings("localhost:0", Path(folder))
        with beside(served, Log(io.StringIO())) as port, delaying(port, ends.host, link, rated, seed) as here:
            module = "sidelight.benchmarks.communications.far_device"
            command = (*ends.inside, sys.executable, "-m", module, f"{ends.host}:{here}", str(samples))
            found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode:
        last = found.stderr.strip().splitlines() or ["it said nothing"]
        raise UsageError(f"the device at the far end ended with status {found.returncode}: {last[-1]}")
    return float(found.stdout)


@contextmanager
def _ends(link: Link | None, kernel: bool) -> Iterator[Ends]:
    if not kernel:
        yield Ends("127.0.0.1", ())
        return
    with shaped(link) as ends:
        yield ends


def by_kernel() -> bool:
    """Whether the kernel shapes links here; one sentence says what is lacking."""
    try:
        with shaped(LINKS["LTE"]):
            return True
    except UsageError as error:
        print(f"{error}: the rate is the proxy's here, and no kernel's queue is in it")
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=float, default=0.1, help="that the model may be off, as a share")
    parser.add_argument("--link", choices=list(SAMPLES), help="this one alone")
    parser.add_argument("--proxy", action="store_true", help="have the proxy shape the rate as well")
    given = parser.parse_args()
    kernel = not given.proxy and by_kernel()
    print(
        f"rate by {'tbf' if kernel else 'the proxy'}, latency and loss by the proxy, where TCP itself does not see them"
    )
    furthest = 0.0
    for link in (one for one in (*LINKS.values(), LOSSY) if given.link in (None, one.name)):
        one = timed(link, kernel)
        furthest = max(furthest, abs(one.off))
        print(
            f"{link.name}: {one.samples} samples, link modelled {one.modelled:.2f} s, measured {one.measured:.2f} s "
            f"less {one.software:.2f} s that software takes without a link: {100 * one.off:+.1f} %",
            flush=True,
        )
    if furthest > given.most:
        return 1
    return 0 if kernel or given.proxy else 3


if __name__ == "__main__":
    sys.exit(answered(main))
