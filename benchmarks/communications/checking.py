"""Whether formulas say what really crosses: beside the wire's own count, and beside the bytes on a socket.

    python -m sidelight.benchmarks.communications.checking [--most 0.01]

Every protocol that sends anything runs on `sidelight-tiny`, with one device and with several, and on a small random
model of the Llama family; those that are served run over gRPC too, through a proxy that counts bytes. The formula for a
socket adds what HTTP/2 and gRPC put around each message; compressed headers and what steers the flow is not in it.
Exits with status 1 where a kind in one direction, or a socket as a whole, is more than --most from the formula.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ...system.backbone import TINY, Backbone, load_backbone
from ..asked import answered
from ..families import BLOCKS, HEADS, WIDTH, make
from ..finding import Cell
from . import runs, sockets
from .envelopes import FRAME_HEADER, HEADERS, framed
from .formulas import FORMULAS, derived, running_on
from .setting import Setting
from .shapes import SHAPES, Shape, llama
from .traffic import Costs, Flow, total

MOST = 0.01
SMALL = Setting(SHAPES[TINY], samples=48, epochs=2, positions=32, rank=4)
ON_SOCKETS = replace(SMALL, epochs=1, positions=48, rank=16)


@dataclass(frozen=True)
class Checked:
    """A formula beside what was counted."""

    protocol: str
    setting: Setting
    derived: int
    wire: int
    off: float
    """Of the kind and direction that is furthest from its formula, as a share."""
    socket: int | None = None
    socket_off: float = 0.0

    @property
    def row(self) -> dict[str, Cell]:
        """For a table."""
        return {
            "protocol": self.protocol,
            "shape": self.setting.shape.name,
            "samples": self.setting.samples,
            "epochs": self.setting.epochs,
            "devices": self.setting.devices,
            "device trained": "yes" if self.setting.trainable else "no",
            "precision": self.setting.precision,
            "formula, bytes": self.derived,
            "wire, bytes": self.wire,
            "furthest kind, %": 100 * self.off,
            "socket, bytes": self.socket,
            "socket, % from the formula": None if self.socket is None else 100 * self.socket_off,
        }


def checked(say: Callable[[str], None] = lambda _line: None) -> Iterator[Checked]:
    """Every protocol's formula, checked."""
    tiny = load_backbone(TINY)
    for name in sorted(FORMULAS):
        say(f"traffic of {name}")
        for setting in settings(name):
            yield on_wire(name, setting, runs.run(name, setting, tiny))
        if name in sockets.SERVED:
            yield on_socket(name, ON_SOCKETS, sockets.run(name, ON_SOCKETS, TINY))
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        other = load_backbone(str(make("llama", Path(folder))))
        shape = llama("small Llama", "random", BLOCKS, WIDTH, WIDTH // 2, 3 * WIDTH, other.vocabulary)
        assert HEADS == 4  # of which half share keys: as many values of keys as half the width
        for name in sorted(FORMULAS):
            setting = replace(SMALL, shape=shape)
            yield on_wire(name, setting, runs.run(name, setting, other))


def checked_on(backbone: Backbone, shape: Shape, say: Callable[[str], None]) -> Iterator[Checked]:
    """Every protocol's formula with the shape of a model at hand, checked on that model."""
    setting = replace(SMALL, shape=shape, samples=8)
    for name in sorted(running_on(shape)):
        say(f"traffic of {name} with {shape.name}")
        yield on_wire(name, setting, runs.run(name, setting, backbone))


def settings(name: str) -> Iterator[Setting]:
    """What a protocol is checked on in one process."""
    yield SMALL
    yield replace(SMALL, precision="int4", samples=40)
    if name in runs.FLEETS:
        yield replace(SMALL, devices=3)
    if name in ("split", "ushape", "splitfed"):
        yield replace(SMALL, trainable=False, devices=2)


def on_wire(name: str, setting: Setting, found: Costs) -> Checked:
    """Beside what a wire counted."""
    known = derived(name, setting)
    off = max(
        _off(known[key].bytes if key in known else 0, found[key].bytes if key in found else 0)
        for key in {*known, *found}
    )
    return Checked(name, setting, total(known).bytes, total(found).bytes, off)


def on_socket(name: str, setting: Setting, seen: sockets.Seen) -> Checked:
    """Beside what passed a socket."""
    known = total(derived(name, setting)).bytes
    around = framing(FORMULAS[name](setting))
    return Checked(
        name, setting, known, seen.messages, _off(known, seen.messages), seen.socket, _off(known + around, seen.socket)
    )


def framing(flows: Iterator[Flow]) -> int:
    """What HTTP/2 and gRPC add to messages, every second of which is an answer."""
    around = [(framed(form.size), count) for form, count in flows]
    return sum(size * count for size, count in around) + HEADERS * FRAME_HEADER * sum(n for _, n in around) // 2


def _off(known: int, found: int) -> float:
    return abs(known / found - 1) if found else float("inf")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=float, default=MOST, help="that a formula may be off, as a share")
    given = parser.parse_args()
    torch.set_num_threads(1)
    furthest = 0.0
    for one in checked():
        furthest = max(furthest, one.off, one.socket_off)
        socket = "" if one.socket is None else f"; socket {one.socket:,} ({100 * one.socket_off:.3f} % off)"
        sizes = f"{one.setting.shape.name}, {one.setting.devices} devices, {one.setting.precision}"
        print(
            f"{one.protocol} ({sizes}): formula {one.derived:,}, wire {one.wire:,} ({100 * one.off:.3f} % off){socket}"
        )
    print(f"furthest: {100 * furthest:.3f} %")
    return 0 if furthest <= given.most else 1


if __name__ == "__main__":
    sys.exit(answered(main))
