"""Two commits compared in turns: the statistic, the commits' own code, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from sidelight.benchmarks import regression
from sidelight.benchmarks.regression import ROOMS, Times, checked_out, compared, git, ratio, report
from sidelight.system.errors import UsageError


def machine(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def drifting(generator: np.random.Generator, factor: float = 1.0) -> list[float]:
    """Rounds on a machine that wobbles by 5 %; the second commit takes `factor` times as long."""
    noise = np.exp(generator.normal(0, 0.05, (5, 4)))
    return [float(factor * (b + c) / (a + d)) for a, b, c, d in noise]


def test_the_same_commit_twice_has_ratio_one_within_its_interval_in_ninety_five_of_a_hundred_runs() -> None:
    generator = machine(0)
    found = [ratio(drifting(generator)) for _ in range(1000)]
    assert 930 <= sum(one.low <= 1 <= one.high for one in found) <= 970
    assert sum(one.slower(0.05) for one in found) <= 5


def test_a_commit_that_takes_a_third_longer_is_told() -> None:
    generator = machine(1)
    assert sum(ratio(drifting(generator, 1.33)).slower(0.05) for _ in range(200)) >= 190


def test_turns_are_first_second_second_first_so_that_an_even_drift_cancels() -> None:
    calls: list[str] = []

    def run(name: str) -> Times:
        calls.append(name)
        return {"work": 1.0 + 0.1 * len(calls), name: 1.0}

    found = compared(lambda: run("first"), lambda: run("second"), 2)
    assert calls == ["first", "second", "second", "first"] * 2
    assert set(found.ratios) == {"work"}
    assert found.ratios["work"].value == pytest.approx(1.0)
    assert (found.lost, found.new) == (["first"], ["second"])


def test_one_round_has_no_interval() -> None:
    with pytest.raises(UsageError, match="two rounds"):
        ratio([1.0])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of packages that say which they are."""
    root = tmp_path / "clone"
    root.mkdir()
    git(root, "init", "-q")
    for said in ("one", "two"):
        for room in ROOMS:
            (root / room).mkdir(exist_ok=True)
            (root / room / "__init__.py").write_text(f"SAID = {said!r}\n")
        git(root, "add", "-A")
        words = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "commit", "-qm", said)
        subprocess.run(["git", "-C", str(root), *words], check=True)
    return root


TASK = """
import json
from sidelight.system import SAID
print(json.dumps({"work": {"one": 1.0, "two": %s}[SAID]}))
"""


@pytest.mark.parametrize(("seconds", "status"), [(1.5, 1), (1.04, 0), (0.5, 0)])
def test_each_commit_runs_its_own_code_and_a_slower_one_exits_with_one(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, status: int
) -> None:
    tasks = tmp_path / "tasks.py"
    tasks.write_text(TASK % seconds)
    monkeypatch.setattr(regression, "TASKS", tasks)
    assert report(repository, "HEAD~1", "HEAD", 2, 0.05) == status
    assert len((git(repository, "worktree", "list") or "").splitlines()) == 1


def test_work_that_the_second_commit_cannot_do_is_named_and_exits_with_one(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tmp_path / "tasks.py"
    said = '{"work": 1.0} if SAID == "two" else {"work": 1.0, "pass": 1.0}'
    tasks.write_text(f"import json\nfrom sidelight.system import SAID\nprint(json.dumps({said}))\n")
    monkeypatch.setattr(regression, "TASKS", tasks)
    assert report(repository, "HEAD~1", "HEAD", 2, 0.05) == 1
    assert "pass: not compared, for HEAD does not do it" in capsys.readouterr().out


@pytest.mark.parametrize("commit", ["nothing", "--help", ""])
def test_what_is_no_commit_is_named(repository: Path, commit: str) -> None:
    with pytest.raises(UsageError, match="is no commit of clone"), checked_out(repository, commit):
        pass
