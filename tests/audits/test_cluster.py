"""What an audit asks of a cluster, what is stored of it, and what it says where a node or the head is lost.

Ray itself is another's: tests/audits/test_ray.py runs on the real one.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidelight.audits.audit import run_audit
from sidelight.audits.executors import cluster, executor_of, joining, station
from sidelight.audits.executors.claim import Claim, claim_of, weakest
from sidelight.audits.executors.cluster import Cluster, OnRay
from sidelight.audits.planning.home import held
from sidelight.audits.proofs.survivors import differing
from sidelight.audits.sandbox.workers import Workers
from sidelight.system.errors import SidelightError, UsageError
from sidelight.system.progress import Progress

from .fake_ray import FakeRay, RayTaskError, WorkerCrashedError
from .small import MOBILLM, PAE, SEED, Small, results, run_here

ATTACKS = 'attacks = ["addback", "match", "probe"]\n'
"""Of which two prepare."""


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch, workers: Workers) -> Iterator[FakeRay]:
    """Two nodes, both in this process, that are looked at after every task."""
    made = FakeRay()

    @contextmanager
    def joined() -> Iterator[FakeRay]:
        yield made

    monkeypatch.setattr(cluster, "joined", joined)
    monkeypatch.setattr(cluster, "answers", lambda address: True)
    monkeypatch.setattr(cluster, "GLANCE", 0.0)
    monkeypatch.setattr(station, "Workers", lambda private: workers)
    yield made
    station.station.cache_clear()


@pytest.fixture
def suite(small: Small) -> Path:
    return small.suite("on-cluster", PAE, ATTACKS, MOBILLM, ATTACKS)


def audited(small: Small, out: Path, suite: Path) -> tuple[bool, list[str]]:
    said: list[str] = []
    return run_audit(small.request(out, suite), OnRay(), Progress(said.append)).whole, said


# --- the same as here ------------------------------------------------------------------------------------------


def test_results_are_those_of_one_process_and_each_task_is_asked_for_once(
    ray: FakeRay, small: Small, suite: Path, workers: Workers, tmp_path: Path
) -> None:
    whole, said = audited(small, tmp_path / "out", suite)
    assert whole
    assert said[0] == "Ray cluster: 2 nodes, 4 cores"
    assert run_here(small, tmp_path / "here", suite, workers)[0]
    assert differing(tmp_path / "here", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["machine"]["nodes"] == 2
    assert len(ray.asked) == len(set(ray.asked)) + 1  # both nodes are greeted with the same words
    names = [name for name, _ in ray.asked]
    assert names.count("record_run") == 2
    shelved = [path for path in (tmp_path / "out" / "prepared").iterdir() if path.suffix != ".lock"]
    assert names.count("prepare") == len(shelved) > 1
    assert SEED not in str(ray.asked)


def test_a_finished_audit_asks_for_nothing_again(ray: FakeRay, small: Small, suite: Path, tmp_path: Path) -> None:
    assert audited(small, tmp_path / "out", suite)[0]
    ray.asked.clear()
    assert audited(small, tmp_path / "out", suite)[0]
    assert {name for name, _ in ray.asked} == {"greet"}


def test_a_task_that_is_done_again_stores_nothing_twice(
    ray: FakeRay, small: Small, suite: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert audited(small, out, suite)[0]
    before = {path: path.stat().st_ino for part in ("runs", "cells") for path in out.glob(f"{part}/**/*")}
    again = [(name, given) for name, given in ray.asked if name == "judge"]
    assert again
    with held_with_token_of(out, again[0][1][0]):
        for name, given in again:
            lines = json.loads(getattr(station, name)(*given))["lines"]
            assert all(line.startswith("attacked") for line in lines)
    after = {path: path.stat().st_ino for part in ("runs", "cells") for path in out.glob(f"{part}/**/*")}
    assert after == before


@contextmanager
def held_with_token_of(out: Path, claim: str) -> Iterator[None]:
    """The folder as it was when a claim on it was made."""
    (out / "lock").write_text(json.loads(claim)["token"], encoding="ascii")
    yield


# --- what dies -------------------------------------------------------------------------------------------------


def test_a_run_whose_processes_die_fails_and_the_rest_goes_on(
    ray: FakeRay, small: Small, suite: Path, tmp_path: Path
) -> None:
    ray.dying = {"record_run": WorkerCrashedError()}
    whole, said = audited(small, tmp_path / "out", suite)
    assert not whole
    failed = [line for line in said if line.startswith("FAILED to record")]
    assert len(failed) == 2
    assert all(line.endswith("its node or process died 6 times (WorkerCrashedError)") for line in failed)


@pytest.mark.parametrize("work", ["prepare", "attempt", "judge"])
def test_cells_whose_tasks_die_fail_with_the_reason_and_are_tried_again(
    ray: FakeRay, small: Small, suite: Path, tmp_path: Path, work: str
) -> None:
    ray.dying = {work: WorkerCrashedError()}
    assert not audited(small, tmp_path / "out", suite)[0]
    rows = {row["attack"]: row for row in results(tmp_path / "out") if row["status"] == "failed"}
    assert rows["match"]["reason"] == "its node or process died 6 times (WorkerCrashedError)"
    assert ("addback" in rows) is (work != "prepare")
    ray.dying = {}
    assert audited(small, tmp_path / "out", suite)[0]
    assert {row["status"] for row in results(tmp_path / "out")} == {"scored", "not_exposed", "not_applicable"}


def test_a_node_that_cannot_load_sidelight_stops_the_audit(
    ray: FakeRay, small: Small, suite: Path, tmp_path: Path
) -> None:
    broken = RayTaskError()
    broken.cause = ModuleNotFoundError("No module named 'sidelight'")
    ray.dying = {"greet": broken}
    with pytest.raises(SidelightError, match=r"cannot run Sidelight \(ModuleNotFoundError\); install the same version"):
        audited(small, tmp_path / "out", suite)
    assert not (tmp_path / "out").exists()


def test_nodes_that_go_and_come_are_told(ray: FakeRay, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "lock").touch()
    crew = Cluster(ray, tmp_path, [], said.append)
    for nodes in (["node1"], [], ["node2"]):
        ray.living = nodes
        crew._look()
    assert said == [
        "node node0 is gone: what it was doing is done again; 1 left",
        "node node1 is gone: what it was doing is done again; none is left, and the audit waits for one",
        "node node2 has come",
    ]


def test_a_head_that_stays_away_stops_the_audit_but_not_at_once(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lock").touch()
    crew = Cluster(ray, tmp_path, [], print)
    monkeypatch.setattr(cluster, "answers", lambda address: False)
    crew._look()
    monkeypatch.setattr(cluster, "HEAD_SECONDS", -1)
    with pytest.raises(SidelightError, match=r"the head of the Ray cluster, 127.0.0.1:1, is gone"):
        crew._look()


# --- who takes part --------------------------------------------------------------------------------------------


def test_a_cluster_without_cores_is_refused(ray: FakeRay, small: Small, suite: Path, tmp_path: Path) -> None:
    ray.living = []
    with pytest.raises(UsageError, match="no node with a core"):
        audited(small, tmp_path / "out", suite)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda claim: {"out": "/nowhere/out"}, "does not see /nowhere/out: give an --out that all nodes"),
        (lambda claim: {"token": "another audit's"}, "does not see .*: give an --out that all nodes"),
        (
            lambda claim: {"versions": {**claim.versions, "torch": "1.0"}},
            "has torch .*, the audit 1.0: install the same",
        ),
        (lambda claim: {"versions": {"nonesuch": "1.0"}}, "has nonesuch missing, the audit 1.0: install the same"),
        (lambda claim: {"code": "other"}, "has other code of Sidelight than the audit: install the same"),
    ],
)
def test_a_node_that_does_not_share_folder_versions_and_code_is_refused_in_a_sentence(
    tmp_path: Path, change: Callable[[Claim], dict[str, Any]], sentence: str
) -> None:
    with held(tmp_path / "out"):
        claim = claim_of(tmp_path / "out", [])
        claim.check()
        with pytest.raises(SidelightError, match=sentence) as refused:
            Claim(**{**vars(claim), **change(claim)}).check()
    assert "\n" not in str(refused.value)


def test_a_refusal_is_an_answer_that_passes_through_what_waits_for_it(
    ray: FakeRay, small: Small, suite: Path, tmp_path: Path
) -> None:
    claim = json.dumps({"out": str(tmp_path), "token": "t", "private": [], "versions": {}, "code": ""})
    answer = station.greet(claim)
    assert "does not see" in json.loads(answer)["refused"]
    assert station.judge(claim, "{}", "[]", answer) == answer


def test_an_error_is_answered_without_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(claim: str) -> None:
        raise ValueError("a victim's text")

    monkeypatch.setattr(station, "station", failing)
    answer = station.greet("{}")
    assert "ValueError" in answer
    assert "victim" not in answer


def test_the_weakest_sandbox_is_none_and_then_the_oldest() -> None:
    assert weakest(["landlock v7", "none", "landlock v3"]) == "none"
    assert weakest(["landlock v10", "landlock v7"]) == "landlock v7"


# --- joining ---------------------------------------------------------------------------------------------------


def test_ray_that_is_not_installed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^`--executor ray` needs the extra: pip install 'sidelight\[ray\]'$"):
        executor_of("ray").__enter__()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("", "no Ray cluster runs on this machine; start one"),
        ("ray://head:10001", "give HOST:PORT of a cluster's head"),
        ("head", "give HOST:PORT of a cluster's head"),
        ("127.0.0.1:999999", "no Ray cluster answers at 127.0.0.1:999999"),
    ],
)
def test_an_address_that_is_no_clusters_is_a_sentence(address: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        joining.refuse_silent(address)


def test_a_head_is_heard_at_its_port_and_no_more_when_it_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        joining.refuse_silent(f"127.0.0.1:{port}")
    with pytest.raises(UsageError, match=f"no Ray cluster answers at 127.0.0.1:{port}; start it"):
        joining.refuse_silent(f"127.0.0.1:{port}")


def test_only_living_nodes_with_cores_count() -> None:
    ray = FakeRay(3)
    assert set(joining.nodes_of(ray)) == {"node0", "node1", "node2"}
    assert joining.cores_of(ray) == 6
    assert joining.nodes_of(SimpleNamespace(nodes=list)) == {}
