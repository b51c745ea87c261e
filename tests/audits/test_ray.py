"""A whole audit on a Ray cluster of three nodes, two of which are killed in the middle of what they do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from sidelight.audits.executors.station import ORDERS
from sidelight.audits.proofs.survivors import differing, left_over
from sidelight.audits.runs.parts import load_parts
from sidelight.audits.sandbox.workers import Workers
from sidelight.system.randomness import Streams

from .small import BRIEF, LOCAL, MOBILLM, PAE, SEED, Small, run_here

pytestmark = pytest.mark.timeout(600)  # three nodes import the libraries on two cores, and two of them die

HELPER = Path(__file__).with_name("ray_cluster.py")
ATTACKS = 'attacks = ["addback", "inverter", "match", "plaintext", "probe", "search", "sign"]\n'
"""Of which four prepare, and two take seconds."""
WORKS = ("record_run", "prepare", "attempt", "judge")
SOON = 20
"""Seconds in which all processes of a node that died are gone."""


@dataclass
class Audited:
    """An audit on a cluster, and what was left when both were gone."""

    out: Path
    suite: Path
    status: int = -1
    said: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    """What the killed nodes were doing, by the names that Ray gives its processes."""
    logged: dict[str, bytes] = field(default_factory=dict)
    """All that Ray wrote."""
    outlived: list[psutil.Process] = field(default_factory=list)


@dataclass
class Cluster:
    """The processes of a cluster; node 0 is its head."""

    process: subprocess.Popen[str]
    address: str
    nodes: list[int]
    living: list[int] = field(default_factory=lambda: [1, 2])
    """The nodes to kill."""
    seen: str = ""
    """What the last one that was killed was doing."""

    def told(self, order: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill_at(self, works: Sequence[str], audit: subprocess.Popen[str]) -> list[psutil.Process]:
        """Kill the node that is first seen in the middle of such a task, but not the head; returns its processes."""
        while audit.poll() is None:
            for node in self.living:
                for process in psutil.Process(self.nodes[node]).children():
                    if work := stopped_at(process, works):
                        self.seen = work
                        self.living.remove(node)
                        return self._killed(node, process)
            time.sleep(0.01)
        raise AssertionError(f"the audit ended before any node was seen at {works}")

    def _killed(self, node: int, worker: psutil.Process) -> list[psutil.Process]:
        raylet = psutil.Process(self.nodes[node])
        family = [raylet, *raylet.children(recursive=True)]
        self.told(f"kill {node}")
        worker.kill()  # a machine that dies leaves nothing behind
        return family


def stopped_at(process: psutil.Process, works: Sequence[str]) -> str | None:
    """The task that a process of Ray's is in, and will never end, because it was stopped in it."""
    try:
        if (work := work_of(process)) in works:
            process.suspend()
            if work_of(process) == work:
                return work
            process.resume()
    except psutil.NoSuchProcess:  # Ray ends processes that it has no use for
        pass
    return None


def work_of(process: psutil.Process) -> str:
    """Ray names its processes by the function that they are in."""
    return "".join(process.cmdline()[:1]).removeprefix("ray::")


@contextmanager
def cluster(folder: str, nodes: int) -> Iterator[Cluster]:
    line = [sys.executable, str(HELPER), folder, str(nodes)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        about = json.loads(process.stdout.readline())
        made = Cluster(process, about["address"], about["nodes"])
        yield made
        made.told("end")


@pytest.fixture(scope="module")
def audited(small: Small) -> Iterator[Audited]:
    """The audit of the command line, with nodes killed under it."""
    found = Audited(small.root / "on-ray", small.suite("on-ray", LOCAL, ATTACKS, PAE, ATTACKS, BRIEF, MOBILLM, ATTACKS))
    folder = tempfile.mkdtemp(prefix="sl-", dir="/tmp")  # the paths of Ray's sockets must be short
    family: list[psutil.Process] = []
    try:
        with cluster(folder, 3) as made:
            family += psutil.Process(made.process.pid).children(recursive=True)
            with command(small, found, made.address) as process:
                for works in (WORKS, WORKS[1:]):
                    family += made.kill_at(works, process)
                    found.interrupted.append(made.seen)
                assert process.stdout is not None
                found.said = process.stdout.read().splitlines()
                process.wait()
            found.status = process.returncode
            family += psutil.Process(made.process.pid).children(recursive=True)
        found.outlived = psutil.wait_procs(list(set(family)), timeout=SOON)[1]
        logs = [path for path in Path(folder).rglob("*") if path.is_file()]
        found.logged = {str(path): path.read_bytes() for path in logs}
        yield found
    finally:
        shutil.rmtree(folder)


@contextmanager
def command(small: Small, found: Audited, address: str) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-m", "sidelight.system.command", "audit", str(found.suite), "--out", str(found.out)]
    line += ["--backbone", str(small.backbone), "--data", str(small.rows), "--seed", SEED, "--executor", "ray"]
    environment = {**os.environ, "RAY_ADDRESS": address}
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def test_an_audit_whose_nodes_die_at_work_ends_well(audited: Audited) -> None:
    assert len(audited.interrupted) == 2
    assert audited.status == 0, audited.said
    assert audited.said[0] == "Ray cluster: 3 nodes, 3 cores"
    assert [line for line in audited.said if line.startswith("FAILED") or "Traceback" in line] == []


def test_its_results_are_those_of_one_process(audited: Audited, small: Small, workers: Workers, tmp_path: Path) -> None:
    assert run_here(small, tmp_path / "here", audited.suite, workers)[0]
    compiled = {path.name for path in (tmp_path / "here").glob("*.jsonl")}
    assert {path.name for path in audited.out.glob("*.jsonl")} == compiled >= {"results.jsonl"}
    assert (audited.out / "results.jsonl").read_text(encoding="utf-8").count("\n") > 10
    assert differing(tmp_path / "here", audited.out) == 0


def test_neither_what_it_says_nor_what_ray_writes_holds_a_seed_or_a_victims_text(audited: Audited) -> None:
    victim = load_parts(audited.out / "truth" / "parts-0.jsonl").victim_train
    streams = Streams(SEED).of("victim 0")
    secrets = [SEED, streams.seed, streams.of("runs").seed, *(sample.text for sample in victim)]
    assert any(b"record_run" in content for content in audited.logged.values())  # it does write of the tasks
    written = {**audited.logged, "said": "\n".join(audited.said).encode()}
    for path, content in written.items():
        assert [secret for secret in secrets if secret.encode() in content] == [], path


def test_nothing_is_left_of_the_nodes_that_died(audited: Audited) -> None:
    assert audited.outlived == []
    assert left_over(audited.out) == []
    assert not (audited.out / "scratch").exists()
    assert not (audited.out / ORDERS).exists()
