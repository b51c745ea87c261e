"""What attacks prepare: computed once, shared by all that may share it, resumed after a stop, and blind to views."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidelight.attacks.attack import LabelGuess
from sidelight.audits.sandbox import landlock, preparing
from sidelight.audits.sandbox.prepared_key import prepared_key
from sidelight.audits.sandbox.preparing import Shelf, Shelved
from sidelight.audits.sandbox.workers import Broken, Done, Limits, Ready, Study, Workers
from sidelight.system import folder
from sidelight.system.public import load_public
from sidelight.system.randomness import Streams

from .conftest import Made, Run, ensured, said

LIMITS = Limits(seconds=60)
needs_landlock = pytest.mark.skipif(not landlock.support().abi, reason=landlock.support().reason)


class Counted(Workers):
    """Workers that are there already, and how often they prepared."""

    def __init__(self, inner: Workers) -> None:
        self.inner, self.studies = inner, 0

    def study(self, study: Study, limits: Limits, watch: Callable[[], None] | None = None) -> Ready | Broken:
        self.studies += 1
        return self.inner.study(study, limits, watch)

    @property
    def closed(self) -> bool:
        return self.inner.closed


@pytest.fixture
def counted(workers: Workers) -> Counted:
    return Counted(workers)


def test_what_was_prepared_reaches_the_attack_and_is_computed_once(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    learns, public = attack("Learns"), load_public(run.public)
    first = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), learns, public)
    second = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), learns, replace(public, targets=("0" * 16,)))
    assert (first, counted.studies) == (second, 1)
    assert first.seconds > 0
    outcome = counted.inner.run(replace(run.task("Learns", tmp_path / "s"), prepared=first.path))
    assert isinstance(outcome, Done), outcome
    assert isinstance(outcome.guess, LabelGuess)
    # one auxiliary text, no query, one fact, two classes: what it studies, whatever else is public
    drawn = folder.read_tensors(first.path)["drawn"].tolist()
    assert outcome.guess.labels.tolist() == [*drawn, 1, 0, 1, 2]


def test_its_randomness_comes_of_its_key(counted: Counted, attack: Made, run: Run, tmp_path: Path) -> None:
    made = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), attack("Learns"), load_public(run.public))
    generator = torch.Generator().manual_seed(Streams(made.key).integer("preparation"))
    assert torch.equal(folder.read_tensors(made.path)["drawn"], torch.randint(1 << 40, (1,), generator=generator))


def test_an_attack_that_prepares_nothing_needs_nothing(
    workers: Workers, attack: Made, run: Run, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "shelf", workers, LIMITS)
    assert shelf.ensure(attack("Zeros"), {}, load_public(run.public), "") is None
    assert not (tmp_path / "shelf").exists()


def test_an_attack_without_what_it_prepares_is_refused(workers: Workers, run: Run, tmp_path: Path) -> None:
    outcome = workers.run(run.task("Learns", tmp_path / "s"))
    assert isinstance(outcome, Broken)
    assert outcome.reason == "UsageError: hostile prepares from public knowledge; give it what it prepared"
    outcome = workers.run(replace(run.task("Learns", tmp_path / "s"), prepared=tmp_path / "prepared.safetensors"))
    assert isinstance(outcome, Broken)
    assert outcome.reason == "UsageError: prepared.safetensors is missing; prepare the attack again"


@needs_landlock
def test_a_preparation_can_read_no_view_no_truth_and_no_other_public_folder(
    workers: Workers, attack: Made, run: Run, tmp_path: Path
) -> None:
    (run.truth / "rows.jsonl").write_text("{}", encoding="ascii")
    private = (run.view / "manifest.json", run.view / "messages.jsonl", run.truth / "rows.jsonl")
    paths = tuple(map(str, (*private, run.public / "public.json", "../public/public.json")))
    snoops = attack("Snoops", files=paths)
    made = ensured(Shelf(tmp_path / "shelf", workers, LIMITS), snoops, load_public(run.public), files=paths)
    # of these, only the folder that was made for it
    assert folder.read_tensors(made.path)["opened"].tolist() == [0, 0, 0, 0, 1]


def test_two_threads_and_two_audits_that_share_a_folder_prepare_once(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    shelves = [Shelf(tmp_path / "shelf", counted, LIMITS) for _ in range(2)]
    learns, public = attack("Learns"), load_public(run.public)
    ready = threading.Barrier(4)

    def ask(at: int) -> Shelved:
        ready.wait()
        return ensured(shelves[at % 2], learns, public)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(ask, range(4)))
    assert counted.studies == 1
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == [found[0].key]


def test_who_waits_for_another_audit_gives_up_when_it_is_closed(
    counted: Counted, attack: Made, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "_locked", lambda handle: False)
    monkeypatch.setattr(Counted, "closed", property(lambda self: True))
    with pytest.raises(RuntimeError, match="these workers are closed"):
        Shelf(tmp_path / "shelf", counted, LIMITS).ensure(attack("Learns"), {}, load_public(run.public), "")


def walk(key: str) -> list[float]:
    """Where the preparation of `Stops` ends if nothing stops it."""
    seed = Streams(key).integer("preparation")
    generator, at = torch.Generator().manual_seed(seed), torch.zeros(4)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(6):
            at = at / 2 + torch.rand(4, generator=generator) + torch.rand(4)
    ends: list[float] = at.tolist()
    return ends


def test_a_killed_preparation_fails_once_and_goes_on_when_it_is_asked_for_again(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    stops, public = attack("Stops", how="killed"), load_public(run.public)
    first = Shelf(tmp_path / "shelf", counted, LIMITS)
    assert said(first, stops, public, how="killed") == said(first, stops, public, how="killed") == "killed by SIGKILL"
    assert counted.studies == 1
    made = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), stops, public, how="killed")
    assert folder.read_tensors(made.path)["walk"].tolist() == walk(made.key)


AUDIT = """
import sys
from pathlib import Path
from hostile_attacks import Stops
from sidelight.audits.sandbox.guess_files import GuessError
from sidelight.audits.sandbox.preparing import Shelf
from sidelight.audits.sandbox.workers import Limits, Workers
from sidelight.system.public import load_public
with Workers() as workers:
    Shelf(Path(sys.argv[2]), workers, Limits()).ensure(
        Stops("hangs"), {"how": "hangs"}, load_public(Path(sys.argv[1])), "")
"""


def test_what_a_killed_audit_prepared_is_taken_up_by_the_next(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    stops, public = attack("Stops", how="hangs"), load_public(run.public)
    key = prepared_key(stops, {"how": "hangs"}, public, "")
    audit = subprocess.Popen([sys.executable, "-c", AUDIT, run.public, tmp_path / "shelf"])
    end = time.monotonic() + 60
    while not (tmp_path / "shelf" / f"{key}.partial" / "work" / "stopped").exists():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    os.kill(audit.pid, signal.SIGKILL)
    audit.wait()
    made = ensured(Shelf(tmp_path / "shelf", counted, LIMITS), stops, public, how="hangs")
    assert (made.key, counted.studies) == (key, 1)
    assert folder.read_tensors(made.path)["walk"].tolist() == walk(key)
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == [key]


def test_progress_is_told_from_none_to_all(workers: Workers, attack: Made, run: Run, tmp_path: Path) -> None:
    told: list[tuple[str, float, float]] = []
    public = load_public(run.public)
    stops, limits = attack("Stops", how="hangs"), Limits(seconds=1)
    reason = said(
        Shelf(tmp_path / "shelf", workers, limits, lambda *note: told.append(note)), stops, public, how="hangs"
    )
    assert reason == "no preparation within 1 s"
    key = prepared_key(stops, {"how": "hangs"}, public, "")
    assert (told[0], told[-1]) == ((key, 0.0, 1.0), (key, 1.0, 1.0))
    assert {(key, 1.0, 6.0)} <= set(told)


def test_a_failure_says_why_and_is_tried_again_by_another_shelf(
    counted: Counted, attack: Made, run: Run, tmp_path: Path
) -> None:
    shelf, public = Shelf(tmp_path / "shelf", counted, LIMITS), load_public(run.public)
    assert [said(shelf, attack("Fails"), public) for _ in range(3)] == ["ArithmeticError: nothing converges"] * 3
    assert counted.studies == 1
    said(Shelf(tmp_path / "shelf", counted, LIMITS), attack("Fails"), public)
    assert counted.studies == 2
