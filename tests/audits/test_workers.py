"""Attacks run apart: guesses, twins and limits come through; whatever an attack does, the harness goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from sidelight.attacks.attack import EpsilonBound, LabelGuess, MembershipScores, StolenModel, TextGuess
from sidelight.audits.sandbox import landlock
from sidelight.audits.sandbox.window import AHEAD
from sidelight.audits.sandbox.workers import Broken, Done, Limits, Workers
from sidelight.system.errors import SidelightError, UsageError

from .conftest import IDS, Run

CLEAN = Limits(seconds=30)


def labels(outcome: Done | Broken) -> dict[str, int]:
    assert isinstance(outcome, Done), outcome
    assert isinstance(outcome.guess, LabelGuess)
    return dict(zip(outcome.guess.ids, outcome.guess.labels.tolist(), strict=True))


def reason(outcome: Done | Broken) -> str:
    assert isinstance(outcome, Broken), outcome
    return outcome.reason


def test_a_guess_comes_back_with_its_cost(workers: Workers, run: Run, tmp_path: Path) -> None:
    outcome = workers.run(run.task("ReadsDifferences", tmp_path / "s"))
    assert labels(outcome) == dict(zip(IDS, range(6), strict=True))
    assert 0 < outcome.seconds < 30
    assert outcome.peak_bytes > 1 << 20


def test_a_task_after_the_first_takes_a_fraction_of_a_second(workers: Workers, run: Run, tmp_path: Path) -> None:
    workers.run(run.task("Zeros", tmp_path / "first"))
    started = time.monotonic()
    workers.run(run.task("Zeros", tmp_path / "second"))
    assert time.monotonic() - started < 2  # loading torch alone takes longer


def test_every_kind_of_guess_comes_back(workers: Workers, run: Run, tmp_path: Path) -> None:
    def given(kind: str) -> object:
        outcome = workers.run(run.task("Gives", tmp_path / kind, kind=kind))
        assert isinstance(outcome, Done), outcome
        return outcome.guess

    assert given("texts") == TextGuess(("a", "b"), ((3, 1), ()), (True, False))
    assert given("epsilon") == EpsilonBound(1.5, 1e-5, 0.95)
    model, members = given("model"), given("members")
    assert isinstance(model, StolenModel)
    assert model.outputs.isnan().tolist() == [[False, True]]
    assert isinstance(members, MembershipScores)
    assert torch.equal(members.scores, torch.tensor([0.25]))


def test_the_same_seed_draws_the_same_in_another_server(
    workers: Workers, open_workers: Workers, run: Run, tmp_path: Path
) -> None:
    drawn = [labels(w.run(run.task("Draws", tmp_path / w.sandbox))) for w in (workers, open_workers)]
    assert drawn[0] == drawn[1]


def test_the_shuffled_twin_sees_every_sample_under_another_id(workers: Workers, run: Run, tmp_path: Path) -> None:
    task = run.task("ReadsDifferences", tmp_path / "s", twin="shuffled")
    seen = labels(workers.run(task))
    assert sorted(seen.values()) == list(range(6))
    assert all(seen[sample_id] != i for i, sample_id in enumerate(IDS))


def test_the_other_twin_never_saw_the_attacked_kind(workers: Workers, run: Run, tmp_path: Path) -> None:
    task = run.task("ReadsDifferences", tmp_path / "s", twin="without", without=("difference",))
    assert labels(workers.run(task)) == {}


def test_settings_build_the_attack_with_lists_as_tuples(workers: Workers, run: Run, tmp_path: Path) -> None:
    fine = workers.run(run.task("Gives", tmp_path / "s", kind="members", classes=["a"]))
    assert isinstance(fine, Done)
    wrong = reason(workers.run(run.task("Gives", tmp_path / "t", depth=3)))
    assert wrong == "TypeError: Gives.__init__() got an unexpected keyword argument 'depth'"


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("Interrupts", "SystemExit: enough"),
        ("Leaves", "the attack left no guess.json"),
        ("Crashes", "killed by SIGSEGV"),
        ("Absent", "AttributeError: module 'hostile_attacks' has no attribute 'Absent'"),
        ("no_such_module:Attack", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("collections:OrderedDict", "TypeError: collections:OrderedDict is no Attack"),
    ],
)
def test_an_attack_that_breaks_says_why(attack: str, said: str, workers: Workers, run: Run, tmp_path: Path) -> None:
    assert reason(workers.run(run.task(attack, tmp_path / "s"))) == said


def test_a_reason_is_one_line_without_the_numbers_it_quotes(workers: Workers, run: Run, tmp_path: Path) -> None:
    assert reason(workers.run(run.task("Raises", tmp_path / "s"))) == "ValueError: cannot invert"
    assert "31337" in (tmp_path / "s" / "worker.log").read_text(encoding="utf-8")  # the owner still sees all of it


@pytest.mark.parametrize(("kind", "said"), [("nothing", "returned NoneType"), ("int32", "labels must be int64")])
def test_what_is_no_guess_is_refused(kind: str, said: str, workers: Workers, run: Run, tmp_path: Path) -> None:
    assert said in reason(workers.run(run.task("Gives", tmp_path / "s", kind=kind)))


def test_a_link_to_the_truth_is_not_followed(workers: Workers, run: Run, tmp_path: Path) -> None:
    (run.truth / "guess.json").write_text('{"type": "LabelGuess", "ids": []}', encoding="ascii")
    task = run.task("Links", tmp_path / "s", target=str(run.truth / "guess.json"))
    assert "not a plain file" in reason(workers.run(task))


def test_an_attack_that_hangs_is_ended_with_all_it_started(workers: Workers, run: Run, tmp_path: Path) -> None:
    outcome = workers.run(run.task("Hangs", tmp_path / "s"), Limits(seconds=1.5))
    assert reason(outcome) == "no guess within 1.5 s"
    assert outcome.seconds < 10
    assert_ended(tmp_path / "s")


def test_an_attack_that_outgrows_its_memory_is_ended(workers: Workers, run: Run, tmp_path: Path) -> None:
    outcome = workers.run(run.task("Grows", tmp_path / "s"), Limits(30, 1 << 30))
    assert reason(outcome) == "resident memory above 1.0 GiB"
    assert 1 << 30 < outcome.peak_bytes < 3 << 30


def test_tasks_run_side_by_side_and_a_broken_one_stops_no_other(workers: Workers, run: Run, tmp_path: Path) -> None:
    names = ["Zeros", "Raises", "ReadsDifferences", "Crashes", "Zeros"]
    jobs = [partial(workers.run, run.task(name, tmp_path / str(at)), CLEAN) for at, name in enumerate(names)]
    outcomes = {finished.at: finished.outcome for finished in workers.side_by_side(jobs, parallel=2)}
    assert [isinstance(outcomes[at], Done) for at in range(5)] == [True, False, True, False, True]


def test_tasks_are_drawn_as_others_finish_and_guesses_are_not_kept(workers: Workers, run: Run, tmp_path: Path) -> None:
    drawn: list[int] = []

    def jobs() -> Iterator[Callable[[], Done | Broken]]:
        for at in range(24):
            drawn.append(at)
            yield partial(workers.run, run.task("Zeros", tmp_path / str(at)), CLEAN)

    seen: list[weakref.ref[object]] = []
    for finished in workers.side_by_side(jobs(), parallel=2):
        assert len(drawn) <= len(seen) + 1 + AHEAD * 2
        assert isinstance(finished.outcome, Done)
        seen.append(weakref.ref(finished.outcome.guess))
        del finished
        assert seen[-1]() is None
    assert len(seen) == len(drawn) == 24


def test_a_guess_of_an_earlier_run_is_not_taken_for_this_one(workers: Workers, run: Run, tmp_path: Path) -> None:
    assert isinstance(workers.run(run.task("Zeros", tmp_path / "s")), Done)
    assert reason(workers.run(run.task("Leaves", tmp_path / "s"))) == "the attack left no guess.json"


def test_private_data_in_a_folder_that_attacks_read_is_refused(importable: None, run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.csv lies in .*, which attacks can read; move it"):
        Workers(private=[Path(torch.__file__).parent / "data.csv"])
    with (
        Workers(private=[run.view / "texts.csv"]) as guarded,
        pytest.raises(UsageError, match="which attacks can read"),
    ):
        guarded.run(run.task("Zeros", tmp_path / "s"))


def test_without_landlock_attacks_still_run_and_the_reason_is_known(
    monkeypatch: pytest.MonkeyPatch, importable: None, run: Run, tmp_path: Path
) -> None:
    monkeypatch.setattr(landlock, "support", lambda: landlock.Support(0, "this kernel has no Landlock"))
    with Workers() as old:
        assert (old.sandbox, old.sandbox_reason) == ("none", "this kernel has no Landlock")
        assert isinstance(old.run(run.task("Zeros", tmp_path / "s")), Done)


def test_a_server_that_dies_is_replaced(importable: None, run: Run, tmp_path: Path) -> None:
    others = set(psutil.Process().children())
    with Workers() as mortal:
        (server,) = set(psutil.Process().children()) - others
        server.kill()
        with contextlib.suppress(SidelightError):  # where the loss is not yet known
            mortal.run(run.task("Zeros", tmp_path / "s"))
        assert isinstance(mortal.run(run.task("Zeros", tmp_path / "s")), Done)


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('a broken torch')", encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with Workers() as broken, pytest.raises(SidelightError, match="does not start: ImportError: a broken torch"):
        broken.run(run.task("Zeros", tmp_path / "s"))


AUDIT = """
import sys
from functools import partial
from pathlib import Path
from sidelight.audits.sandbox.workers import Limits, Task, Workers
root, scratch = map(Path, sys.argv[1:])
task = Task("hostile_attacks:Hangs", {}, root / "view", root / "public", scratch, seed=1)
with Workers() as workers:
    list(workers.side_by_side([partial(workers.run, task, Limits())]))
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=lambda sent: sent.name)
def test_an_interrupted_or_killed_audit_leaves_no_process(
    sent: signal.Signals, importable: None, run: Run, tmp_path: Path
) -> None:
    audit = subprocess.Popen([sys.executable, "-c", AUDIT, run.root, tmp_path / "s"], stderr=subprocess.PIPE)
    wait_for((tmp_path / "s" / "processes").exists, seconds=60)
    server = psutil.Process(audit.pid).children()[0]
    os.kill(audit.pid, sent)
    _, said = audit.communicate(timeout=20)
    assert audit.returncode in (-sent, 130)
    assert (b"KeyboardInterrupt" in said) == (sent == signal.SIGINT)
    wait_for(lambda: not server.is_running())
    assert_ended(tmp_path / "s")


def assert_ended(scratch: Path) -> None:
    """No process is left of an attack that wrote down its own and its helper's."""
    processes = list(map(int, (scratch / "processes").read_text(encoding="ascii").split()))
    assert len(processes) == 2
    wait_for(lambda: not any(map(psutil.pid_exists, processes)))


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
