"""An attack that tries every way to the truth finds none, and finds it where the sandbox is off."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.sandbox import landlock
from sidelight.audits.sandbox.workers import Done, Limits, Workers
from sidelight.system.data.messages import generate
from sidelight.system.randomness import Streams, fresh_seed
from sidelight.system.view import load_view

from .conftest import Run

HOLDER = """
import os, socket, sys, threading
mark, truth, name = sys.argv[1], open(sys.argv[2]), sys.argv[3]
def serve(listener):
    while True:
        caller, _ = listener.accept()
        caller.sendall(mark.encode())
        caller.close()
unix, tcp = socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0))
unix.bind("\\0" + name)
unix.listen()
for listener in (unix, tcp):
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
print(tcp.getsockname()[1], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Planted:
    """A run whose truth is marked, wherever an audit may hold it."""

    run: Run
    streams: Streams
    settings: Mapping[str, Any]

    def texts(self) -> set[str]:
        """Digests of the victim's texts, as the canary writes them."""
        canary = importlib.import_module("canary")
        return {canary.digest(row.text) for row in generate(canary.ROWS, self.streams.numpy("data"))}

    def keys(self) -> set[str]:
        """Digests of the victim's keys."""
        canary = importlib.import_module("canary")
        return {canary.digest(str(self.streams.integer(name))) for name in ("key", "noise")}

    def regenerated(self, found: Mapping[str, list[str]]) -> set[str]:
        """The victim's secrets that the canary made from a seed.

        Its texts count together: some seed or other draws one of them by chance, as short texts have few slots.
        """
        made = set(found["seeds"])
        return self.keys() & made | (self.texts() if self.texts() <= made else set())

    def truths(self, found: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """What each probe saw or was able to do; empty probes are left out."""
        return {name: seen for name, seen in found.items() if seen and name != "seeds"}


def mark() -> str:
    return f"PLANTED-{secrets.token_hex(8)}"


@pytest.fixture
def planted(run: Run, tmp_path: Path, importable: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    (run.truth / "texts.jsonl").write_text(mark(), encoding="ascii")
    data = tmp_path / "data.jsonl"
    data.write_text(mark(), encoding="ascii")
    monkeypatch.setenv("SIDELIGHT_SECRET", mark())
    name = f"sidelight-{secrets.token_hex(4)}"
    command = [sys.executable, "-c", HOLDER, mark(), str(run.truth / "texts.jsonl"), name]
    with (
        tempfile.NamedTemporaryFile("w", dir="/dev/shm") as shared,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder,
    ):
        shared.write(mark())
        shared.flush()
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        settings = {
            "paths": (str(run.truth), str(data)),
            "processes": (os.getpid(), holder.pid),
            "abstract": name,
            "port": port,
        }
        yield Planted(run, Streams(fresh_seed()), settings)
        holder.communicate()


def found_by(workers: Workers, planted: Planted, scratch: Path) -> dict[str, list[str]]:
    outcome = workers.run(planted.run.task("canary:Canary", scratch, **planted.settings), Limits(seconds=60))
    assert isinstance(outcome, Done), outcome
    found: dict[str, list[str]] = json.loads((scratch / "found.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.skipif(not landlock.support().abi, reason=landlock.support().reason)
def test_the_canary_finds_no_way_to_the_truth(workers: Workers, planted: Planted, tmp_path: Path) -> None:
    with (planted.run.truth / "texts.jsonl").open(encoding="ascii") as opened:  # as an audit that scores has it
        os.set_inheritable(opened.fileno(), True)
        found = found_by(workers, planted, tmp_path / "scratch")
    assert planted.truths(found) == {}
    assert len(found["seeds"]) > 1000
    assert planted.regenerated(found) == set()


def test_without_a_sandbox_the_same_canary_finds_the_truth(
    open_workers: Workers, planted: Planted, tmp_path: Path
) -> None:
    found = planted.truths(found_by(open_workers, planted, tmp_path / "scratch"))
    ways = {name for name, seen in found.items() if any(item.startswith("PLANTED-") for item in seen)}
    assert ways >= {"beside the view", "known paths", "links", "shared memory", "processes", "sockets"}
    assert found.keys() >= {"listings", "writes", "control"}
    # the server and the fork keep these closed without Landlock's help
    assert found.keys().isdisjoint({"handles", "objects", "environment"})


def test_in_the_process_that_holds_the_truth_the_canary_finds_it(planted: Planted) -> None:
    canary = importlib.import_module("canary")
    (planted.run.root / "held").write_text(mark(), encoding="ascii")
    held = [mark()]
    view = load_view(planted.run.view)
    with (planted.run.root / "held").open(encoding="ascii"):
        assert any(seen.startswith("PLANTED-") for seen in canary.handles())
    assert held[0] in set(canary.objects(view, view))
    attack = canary.Canary(**planted.settings)
    probes = attack.probes(view, None, None)
    assert list(probes["environment"]()) == [os.environ["SIDELIGHT_SECRET"]]


def test_the_canary_makes_the_texts_of_a_victim_whose_seed_can_be_guessed(planted: Planted) -> None:
    canary = importlib.import_module("canary")
    weak = Planted(planted.run, Streams("7"), planted.settings)
    made = {"seeds": list(canary.seeds({6, 7}))}
    assert weak.regenerated(made) == weak.texts() | weak.keys()
    assert planted.regenerated(made) == set()
