"""Small works that a commit is timed at, run as a file by an interpreter that imports that commit's packages.

    python tasks.py FOLDER    one line of JSON: processor seconds of each work, by name

It asks of `sidelight` only what has long been there; a work of which a commit lacks something is left out, and so is
not compared. FOLDER must not be there; it is used for a cache and left for the caller to remove.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

Work = Callable[[], object]
SAMPLES, LAYERS, WIDTH, OUTPUTS, BATCH = 1024, 12, 768, 20, 64
TURNS = 5


def tensors() -> dict[str, torch.Tensor]:
    """Rows as they cross: activations (N, L, d) and differences (N, K)."""
    generator = torch.Generator().manual_seed(0)
    return {
        "activations": torch.randn(SAMPLES, LAYERS, WIDTH, generator=generator).half().float(),
        "difference": torch.randn(SAMPLES, OUTPUTS, generator=generator).half().float(),
    }


def ids() -> list[str]:
    return [f"{number:016x}" for number in range(SAMPLES)]


def cached_epoch(folder: Path) -> Work:
    """A PAE server's epochs from its cache on disk."""
    from sidelight.system.cache.disk import DiskCache
    from sidelight.system.message import Message
    from sidelight.system.protocols.pae_server import PAEServer
    from sidelight.system.protocols.side_training import SideTraining
    from sidelight.system.randomness import Streams
    from sidelight.system.side_network import SideShape

    cache = DiskCache(folder, 1 << 32)
    for kind, rows in tensors().items():
        cache.put(kind, ids(), rows, "fp16")
    shape, training = SideShape(LAYERS, WIDTH, 16, OUTPUTS), SideTraining(bottleneck=16, epochs=TURNS + 1)
    server = PAEServer(shape, training, Streams("benchmark"))
    server.keep_in(cache)
    server.handle(Message("samples", "device", "server", sample_ids=tuple(ids())))
    return lambda: [server.step() for _ in range(SAMPLES // BATCH)]


def message(_: Path) -> Work:
    """A batch's activations encoded and decoded."""
    from sidelight.system.message import Message, decode, encode

    rows = tensors()["activations"][:BATCH]
    made = Message(
        "activations", "device", "server", sample_ids=tuple(ids()[:BATCH]), tensors={"rows": rows}, precision="fp16"
    )
    return lambda: [decode(encode(made)) for _ in range(20)]


def device_pass(_: Path) -> Work:
    """Pivots of texts under the packaged backbone."""
    from sidelight.system.backbone import load_backbone
    from sidelight.system.fusion import pivot_activations

    backbone, texts = load_backbone("sidelight-tiny"), ["the parcel has not come and the money is gone"] * BATCH

    def work() -> None:
        with torch.no_grad():
            pivot_activations(backbone, texts, 64, "", "last")

    return work


WORKS: dict[str, Callable[[Path], Work]] = {
    "server, cached epoch": cached_epoch,
    "wire, encode and decode": message,
    "device, pass": device_pass,
}


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for name, make in WORKS.items():
        try:
            work = make(Path(sys.argv[1]))
            work()
        except (ImportError, TypeError, AttributeError):  # not in this commit, or called otherwise
            continue
        found[name] = min(_seconds(work) for _ in range(TURNS))
    print(json.dumps(found))


def _seconds(work: Work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
