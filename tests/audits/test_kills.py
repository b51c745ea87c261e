"""Audits that are killed lose, change and repeat nothing: the slow proof, in small, and what it would have noticed."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from sidelight.audits.proofs.kills import Proof, Tally
from sidelight.audits.proofs.survivors import Watch, differing, finished, left_over
from sidelight.system.errors import SidelightError
from sidelight.system.files import write_json, write_lines

from .small import MOBILLM, PAE, SEED, Small

ATTACKS = 'attacks = ["addback", "plaintext", "sign"]\n'


@pytest.mark.timeout(300)
def test_an_audit_that_is_killed_ends_as_one_that_never_was(small: Small, tmp_path: Path) -> None:
    suite = small.suite("killed-once", PAE, ATTACKS, MOBILLM, ATTACKS)
    options = [str(suite), "--backbone", str(small.backbone), "--data", str(small.rows), "--seed", SEED]
    said: list[str] = []
    # killing a resumed audit again is the slow proof's; the grace of a machine that is busy with other tests
    tally = Proof(options, tmp_path, said.append, grace=60).run(1, itertools.repeat(0.8))
    assert tally.wrong == 0, tally
    assert (tally.kills, tally.restarts) == (1, 1)
    names = finished(tmp_path / "reference").keys()
    assert len(names) >= 8  # two runs and three attacks on each
    assert finished(tmp_path / "audit-0").keys() == names
    assert tally.finished == len(names) * tally.audits > 0


def test_an_audit_that_fails_of_itself_ends_the_proof(tmp_path: Path) -> None:
    with pytest.raises(SidelightError, match=r"ended with status 2: .*no-such-suite"):
        Proof(["no-such-suite"], tmp_path, print).run(1, itertools.repeat(1.0))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run and two cells that are finished, and others that are not, or are being replaced."""
    for name in (
        "runs/r",
        "cells/a",
        "cells/b",
        "cells/c.partial-7",
        "cells/a.old-7",
        "cells/unfinished",
        "prepared/k.partial",
    ):
        (tmp_path / name).mkdir(parents=True)
    write_json(tmp_path / "runs/r/run.json", {"run": "r"})
    write_json(tmp_path / "runs/r/facts.json", {})
    write_json(tmp_path / "prepared/k.partial/prepared.json", {})
    for cell in ("cells/a", "cells/b", "cells/c.partial-7", "cells/a.old-7"):
        write_json(tmp_path / cell / "result.json", {"value": 1})
    return tmp_path


@pytest.fixture
def watch(out: Path) -> Watch:
    watch = Watch(out)
    watch.look()
    return watch


def noted(watch: Watch) -> tuple[set[str], set[str], set[str]]:
    watch.look()
    return watch.lost, watch.changed, watch.repeated


def test_finished_folders_are_watched_and_only_they(out: Path, watch: Watch) -> None:
    assert watch.seen.keys() == {"runs/r", "cells/a", "cells/b"}
    assert watch.seen["runs/r"].keys() == {"run.json", "facts.json"}
    assert {path.name for path in left_over(out)} == {"c.partial-7", "a.old-7", "k.partial"}
    (out / "cells/unfinished/result.json").write_text("1", encoding="utf-8")
    assert noted(watch) == (set(), set(), set())
    assert "cells/unfinished" in watch.seen


def test_a_folder_or_a_file_that_is_gone_is_lost(out: Path, watch: Watch) -> None:
    shutil.rmtree(out / "cells/a")
    (out / "runs/r/facts.json").unlink()
    assert noted(watch) == ({"cells/a", "runs/r"}, set(), set())


def test_other_content_is_a_change_and_the_same_content_written_again_is_a_repetition(out: Path, watch: Watch) -> None:
    write_json(out / "cells/a/result.json", {"value": 2})
    write_json(out / "cells/b/result.json", {"value": 1})
    assert noted(watch) == (set(), {"cells/a"}, {"cells/b"})


def test_a_run_may_be_given_its_floor_but_nothing_else(out: Path, watch: Watch) -> None:
    write_json(out / "runs/r/run.json", {"run": "r", "floor": {"value": 0.5}})
    assert noted(watch) == (set(), set(), set())
    write_json(out / "runs/r/run.json", {"run": "other"})
    assert noted(watch) == (set(), {"runs/r"}, set())


def test_rows_may_differ_by_times_and_versions_only(tmp_path: Path) -> None:
    row = {
        "cell": "a",
        "value": 1.0,
        "seconds": 3.0,
        "prepare_seconds": None,
        "peak_mib": 500,
        "versions": {"torch": "1"},
    }
    row["price"] = {"undefended": {"utility": 0.5, "device_seconds_per_sample": 0.001}}
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    write_lines(one / "results.jsonl", [row, row, row])
    faster = {"price": {"undefended": {"utility": 0.5, "device_seconds_per_sample": 0.002}}}
    write_lines(
        other / "results.jsonl",
        [{**row, "seconds": 4.0, "peak_mib": 501, "versions": {}, **faster}, {**row, "value": 2.0}],
    )
    write_lines(other / "curves.jsonl", [{"curve": "c"}])
    # the second row's value, the third row, and a curve that the first audit has not
    assert differing(one, other) == differing(other, one) == 3
    assert differing(one, one) == 0


def test_anything_but_kills_restarts_and_ends_is_wrong() -> None:
    fine = {"kills": 1, "restarts": 1, "audits": 1, "finished": 1}
    assert Tally(**fine).wrong == 0
    for name in ("lost", "changed", "repeated", "outlived", "differing", "left"):
        assert Tally(**fine, **{name: 2}).wrong == 2
