"""Whether training from many cached samples takes more memory than from few.

    python -m sidelight.benchmarks.memory.cache [--samples 100000] [--few 10000] [--most 0.10]

A PAE server trains from a cache on disk, in a process of its own that did nothing before; another process kept the
samples there. 6 layers of width 192 at fp16, 20 outputs, batches of 64, two epochs. What grows with the samples is
their list and the order of an epoch: 16 digits a sample, which Python keeps in some 150 bytes. Exits with status 1
where the peak is by more than --most above that of --few samples.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from ...system.cache.disk import DiskCache
from ...system.codec import Precision, through
from ...system.message import Message
from ...system.protocols.pae_server import KINDS, PAEServer
from ...system.protocols.side_training import SideTraining
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideShape
from ..apart import forked
from ..asked import answered, positive
from .resident import mark, peak, resident

SHAPE = SideShape(layers=6, width=192, bottleneck=192, outputs=20)
EPOCHS = 2
PRECISION: Precision = "fp16"
QUOTA = 1 << 34
KEPT_AT_ONCE = 500


def sample_ids(samples: int) -> list[str]:
    return [f"{number:016x}" for number in range(samples)]


def rows(shape: SideShape, samples: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Activations (N, L, d) and differences (N, K), as they are after they crossed."""
    drawn = {
        KINDS[0]: torch.randn(samples, shape.layers, shape.width, generator=generator),
        KINDS[1]: torch.randn(samples, shape.outputs, generator=generator),
    }
    return {kind: through(tensor, PRECISION) for kind, tensor in drawn.items()}


def batches_of(shape: SideShape, samples: int) -> Iterator[tuple[list[str], dict[str, torch.Tensor]]]:
    """Ids and rows of samples, some at a time."""
    generator, ids = torch.Generator().manual_seed(0), sample_ids(samples)
    for at in range(0, samples, KEPT_AT_ONCE):
        some = ids[at : at + KEPT_AT_ONCE]
        yield some, rows(shape, len(some), generator)


def keep(folder: Path, shape: SideShape, samples: int) -> dict[str, float]:
    """Keep samples in a cache; how long that took."""
    cache, began = DiskCache(folder, QUOTA), time.perf_counter()
    for ids, tensors in batches_of(shape, samples):
        for kind, tensor in tensors.items():
            cache.put(kind, ids, tensor, PRECISION)
    cache.close()
    return {"seconds": time.perf_counter() - began}


def train(folder: Path, shape: SideShape, samples: int, epochs: int) -> dict[str, float]:
    """Train from the cache as a server does that was started anew; peak resident bytes, before and in training."""
    before = resident()  # gives back what nobody uses, which would count in the peak otherwise
    mark()
    cache = DiskCache(folder, QUOTA)
    server = PAEServer(shape, SideTraining(bottleneck=shape.bottleneck, epochs=epochs), Streams("benchmark"))
    server.keep_in(cache)
    began = time.perf_counter()
    wanted = server.handle(Message("samples", DEVICE, SERVER, sample_ids=tuple(sample_ids(samples)))).sample_ids
    assert wanted == ()
    while server.step():
        pass
    done, steps = server.progress
    assert done == steps
    cache.close()
    return {"before": before, "peak": peak(), "seconds": time.perf_counter() - began}


def measured(shape: SideShape, samples: int) -> dict[str, float]:
    """What training from so many samples took, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        folder = Path(name) / "cache"
        kept = forked(partial(keep, folder, shape, samples))
        found: dict[str, float] = forked(partial(train, folder, shape, samples, EPOCHS))
        file = sum(path.stat().st_size for path in folder.iterdir())
    return {**found, "file": file, "keeping": kept["seconds"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=positive, default=100_000)
    parser.add_argument("--few", type=positive, default=10_000)
    parser.add_argument("--most", type=float, default=0.10, help="the growth that is allowed")
    given = parser.parse_args()
    peaks = []
    for samples in (given.few, given.samples):
        found = measured(SHAPE, samples)
        peaks.append(found["peak"])
        mebibytes = {name: found[name] / 2**20 for name in ("file", "before", "peak")}
        print(
            f"{samples} samples: file {mebibytes['file']:.0f} MiB, kept in {found['keeping']:.1f} s; resident before "
            f"{mebibytes['before']:.1f} MiB, peak {mebibytes['peak']:.1f} MiB; {EPOCHS} epochs in "
            f"{found['seconds']:.1f} s",
            flush=True,
        )
    growth = peaks[1] / peaks[0] - 1
    print(f"the peak grows by {100 * growth:.1f} %")
    return 0 if growth <= given.most else 1


if __name__ == "__main__":
    sys.exit(answered(main))
