"""Small tunings in one process: rows in a file, a server that outlives devices, a wire that breaks where it is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sidelight.system.building import Recipe
from sidelight.system.folder import read_tensors
from sidelight.system.message import Message, Party
from sidelight.system.progress import Progress
from sidelight.system.roles import Role
from sidelight.system.tuning.home import Home
from sidelight.system.tuning.keeping import open_cache
from sidelight.system.tuning.order import Order, Prepared, prepared
from sidelight.system.tuning.phases import Trained
from sidelight.system.tuning.tune import Surroundings, tune
from sidelight.system.wire import Wire

from ...contracts.micro import Micro, texts

SEED = "5eed" * 8
SIDE = {"bottleneck": 16, "epochs": 3, "batch": 12, "learning_rate": 2e-2}


class Killed(BaseException):
    """A device that ends in the middle of something; no error that anybody handles."""


@dataclass(frozen=True)
class Break:
    """Where a device ends: at its message of a kind, so many before it, on its way there or on the way back."""

    kind: str
    after: int
    delivered: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.after} {'answered' if self.delivered else 'lost'}"


class Breaking(Wire):
    """Hands messages over until it breaks."""

    def __init__(self, roles: Mapping[Party, Role], hear: Callable[[Message], None], at: Break | None) -> None:
        super().__init__(roles, hear)
        self._at, self._seen = at, 0

    def request(self, message: Message) -> Message:
        at, here = self._at, False
        if at is not None and message.kind == at.kind:
            here = self._seen == at.after
            self._seen += 1
        if at is not None and here and not at.delivered:
            raise Killed
        answer = super().request(message)
        if here:
            raise Killed
        return answer


@dataclass
class Host:
    """A server that stays while devices come and go; it keeps what it heard, one list for each device's process."""

    heard: list[list[Message]] = field(default_factory=list)
    breaks: list[Break | None] = field(default_factory=list)
    """For the next processes, the first one first."""
    _roles: dict[str, Mapping[Party, Role]] = field(default_factory=dict)

    @contextmanager
    def open_wire(self, ready: Prepared, trained: Trained) -> Iterator[Wire]:
        seed = ready.scene.streams.seed
        if seed not in self._roles:
            self._roles[seed] = ready.protocol.servers(ready.scene)
        self.heard.append([])
        yield Breaking(self._roles[seed], self.heard[-1].append, self.breaks.pop(0) if self.breaks else None)

    def sent(self, kind: str) -> list[dict[str, torch.Tensor]]:
        """For each process, what samples sent of a kind, by their ids."""
        return [
            {i: row for m in messages if m.kind == kind for i, row in zip(m.sample_ids, m.tensors[kind], strict=True)}
            for messages in self.heard
        ]


def rows_csv(folder: Path, a_class: int = 12) -> Path:
    """Labelled texts that the micro backbones can tell apart."""
    path = folder / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *texts(a_class, seed=1)])
    return path


def order(folder: Path, micro: Micro, recipe: Recipe | None = None, **settings: Any) -> Order:
    """An order on the rows of a folder, whose results go to `out` in it."""
    asked = recipe or Recipe("pae", {"side": SIDE, "batch": 10}, {})
    given = {"protocol": asked.protocol, "settings": asked.settings, "defences": asked.defences, **settings}
    return Order(folder / "out", str(folder / "rows.csv"), str(micro.folders["opt"]), **given)


def begun(asked: Order) -> Order:
    """The same order, its device's seed settled."""
    Home(asked.out).begin(prepared(asked, SEED).identity, SEED)
    return asked


def carried_out(asked: Order, host: Host) -> bool:
    """Run a device's process to its end, wherever that is; whether it finished."""
    try:
        tune(asked, Surroundings(host.open_wire, open_cache, Progress(print)))
    except Killed:
        return False
    return True


def until_done(asked: Order, host: Host) -> None:
    """Begin again until it is finished."""
    while not carried_out(asked, host):
        pass


def summary(asked: Order) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((asked.out / "summary.json").read_text("utf-8"))
    return found


def weights(asked: Order) -> dict[str, torch.Tensor]:
    return read_tensors(asked.out / "model" / "model.safetensors")


def everything(out: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(out.rglob("*")) if p.is_file()}
