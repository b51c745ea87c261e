"""Server and device killed at random moments: nothing acknowledged is lost, and the weights end as if nothing had been.

    python -m sidelight.audits.proofs.network_kills [--kills 100] [--who server|device|both] [--seed N]

`sidelight serve` and `sidelight tune` run as users start them, on loopback, with one thread each. One of the two gets
SIGKILL again and again, after times drawn at random, and is started anew as it was. Compared with a run that nobody
disturbed, from the same device's seed: the tuned weights, bit for bit, which no sample that was trained on twice in an
epoch, or lost, could leave as they are. And by the server's log: a server that was killed never asks again for a sample
that it had acknowledged, and a device that was killed never sends one again. Exits with status 1 where any of it fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...system.errors import SidelightError

COMMAND = [sys.executable, "-m", "sidelight.system.command"]
ROWS, BATCH, EPOCHS = 300, 4, 12
"""Small messages and many steps: so that a kill meets each of them."""
STARTS, ENDS = 120.0, 600.0
"""Seconds that a process may take to start, and a run to end."""
CLASSES = ("kettle", "window", "garden", "ticket", "violin")


@dataclass
class Found:
    """What one or several disturbed runs showed."""

    kills: int = 0
    runs: int = 0
    asked_again: int = 0
    """Samples that a server wanted though it had acknowledged them."""
    sent_again: int = 0
    """Samples that a device sent though they had been acknowledged."""
    other_weights: int = 0
    """Runs that ended with other weights."""
    failed: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return bool(self.kills) and not (self.asked_again or self.sent_again or self.other_weights or self.failed)


class Scene:
    """Folders, a port, and the two processes."""

    def __init__(self, root: Path, rows: int = ROWS, epochs: int = EPOCHS) -> None:
        self._root, self._rows, self._epochs = root, rows, epochs
        self.store, self.out, self.data = root / "store", root / "out", root / "rows.csv"
        self.data.write_text("text,label\n" + "".join(_lines(rows)), encoding="utf-8")
        with socket.create_server(("localhost", 0)) as free:
            self._port = free.getsockname()[1]
        self._logs: list[Path] = []
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the server, and wait until it serves."""
        log = self._root / f"log-{len(self._logs)}"
        self._logs.append(log)
        command = [*COMMAND, "serve", "--listen", f"localhost:{self._port}", "--store", str(self.store)]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stderr=file, stdout=file, env=self._environment)
        self._wait(lambda: '"serving"' in log.read_text(), process, log)
        return process

    def tune(self) -> subprocess.Popen[bytes]:
        """Start the device."""
        settings = ["--set", f"batch={BATCH}", "--set", "side.batch=8", "--set", "side.bottleneck=32"]
        command = [*COMMAND, "tune", "--server", f"localhost:{self._port}", "--data", str(self.data), *settings]
        with (self._root / "device").open("ab") as file:
            return subprocess.Popen(
                [*command, "--epochs", str(self._epochs), "--out", str(self.out)],
                stdout=file,
                stderr=file,
                env=self._environment,
            )

    def joined(self, times: int) -> bool:
        """Whether a device has joined so often by now."""
        return [event["event"] for event in self.events()].count("joined") >= times

    def events(self) -> list[dict[str, Any]]:
        """What all servers so far have logged, in order."""
        lines = [line for log in self._logs for line in log.read_text().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines if line.endswith("}")]

    def said(self) -> str:
        """The end of what the device said."""
        return (self._root / "device").read_text(errors="replace")[-300:]

    def weights(self) -> bytes:
        return (self.out / "model" / "model.safetensors").read_bytes()

    def begin_again(self) -> None:
        """Forget a run but for the device's seed."""
        for path in (self.store, self.out / "model"):
            shutil.rmtree(path)
        (self.out / "summary.json").unlink()
        for path in (self.out / "device").iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in ("seed", "about.json"):
                path.unlink()
        (self.out / "device" / "kept").mkdir(mode=0o700)
        self._logs = []

    def _wait(self, reached: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
        until = time.monotonic() + STARTS
        while not reached():
            if process.poll() is not None or time.monotonic() > until:
                raise SidelightError(f"the server did not start: {log.read_text()[-300:]}")
            time.sleep(0.02)


def _lines(rows: int) -> list[str]:
    drawn = random.Random(1)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(drawn.sample(syllables, 3)) for _ in range(2000)]
    return [f"{CLASSES[i % 5]} {' '.join(drawn.sample(words, 6))},{CLASSES[i % 5]}\n" for i in range(rows)]


def undisturbed(scene: Scene) -> tuple[bytes, float]:
    """The weights of a run that nobody disturbs, and the seconds that it takes once its device has joined."""
    server, device = scene.serve(), scene.tune()
    while device.poll() is None and not scene.joined(1):
        time.sleep(0.02)
    began = time.monotonic()
    if device.wait(ENDS):
        raise SidelightError(f"the undisturbed run failed: {scene.said()}")
    server.terminate()
    server.wait()
    return scene.weights(), time.monotonic() - began


def disturbed(scene: Scene, who: str, most: int, lasting: float, drawn: random.Random, found: Found) -> None:
    """One run with kills of the server or the device, at most so many."""
    until = time.monotonic() + ENDS
    processes = {"server": scene.serve(), "device": scene.tune()}
    try:
        found.kills += _kill(scene, processes, who, most, lasting, drawn)
        found.runs += 1
        if processes["device"].wait(max(until - time.monotonic(), 1.0)):
            found.failed.append(scene.said())
    except subprocess.TimeoutExpired:
        found.failed.append(f"the device had not ended after {ENDS:g} s")
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def _kill(
    scene: Scene,
    processes: dict[str, subprocess.Popen[bytes]],
    who: str,
    most: int,
    lasting: float,
    drawn: random.Random,
) -> int:
    """Kill one of the processes, and start it again, until the device has ended or there were enough kills."""
    joins, kills = 0, 0
    while processes["device"].poll() is None and kills < most:
        if not scene.joined(joins + 1):  # a kill before it would meet nothing but imports
            time.sleep(0.02)
            continue
        time.sleep(drawn.uniform(0, lasting / 2))
        if processes["device"].poll() is not None:
            break
        processes[who].kill()
        processes[who].wait()
        kills += 1
        joins = joins + 1 if who == "device" else joins
        processes[who] = scene.serve() if who == "server" else scene.tune()
    return kills


def judge(scene: Scene, who: str, weights: bytes, found: Found) -> None:
    """What a disturbed run shows by its weights and its log."""
    if found.failed:
        return
    found.other_weights += scene.weights() != weights
    events = [event for event in scene.events() if event["event"] == "answered"]
    if who == "server":
        found.asked_again += sum(event["wanted"] for event in events if event["kind"] == "train")
    else:
        found.sent_again += sent_again(events)


def sent_again(events: Sequence[Mapping[str, Any]]) -> int:
    """Samples that were sent beyond those that the server wanted, when a device came again."""
    wanted, beyond = 0, 0
    for event in events:
        if event["kind"] == "samples":
            wanted = event["wanted"]
        elif event["kind"] == "difference":
            wanted -= event["samples"]
            beyond += max(0, -wanted)
            wanted = max(wanted, 0)
    return beyond


def prove(who: str, kills: int, seed: int, rows: int = ROWS, epochs: int = EPOCHS) -> Found:
    """So many kills, in as many runs as it takes."""
    found, drawn = Found(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="sidelight-") as root:
        scene = Scene(Path(root), rows, epochs)
        weights, lasting = undisturbed(scene)
        while found.kills < kills and not found.failed:
            scene.begin_again()
            disturbed(scene, who, kills - found.kills, lasting, drawn, found)
            judge(scene, who, weights, found)
            print(f"{who}: {found.kills} kills in {found.runs} runs", file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of each")
    parser.add_argument("--who", choices=("server", "device", "both"), default="both")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    sound = True
    for who in ("server", "device") if given.who == "both" else (given.who,):
        found = prove(who, given.kills, given.seed)
        print(
            f"{who} killed {found.kills} times in {found.runs} runs: {found.other_weights} with other weights, "
            f"{found.asked_again} acknowledged samples lost, {found.sent_again} sent again, {len(found.failed)} failed"
        )
        for reason in found.failed:
            print(f"failed: {reason}")
        sound = sound and found.sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
