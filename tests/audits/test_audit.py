"""Whole audits on a backbone of a few thousand random weights: what is stored, that it repeats, and that nothing breaks
it."""

from __future__ import annotations

import json
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidelight import reports
from sidelight.audits.audit import run_audit
from sidelight.audits.executors.cores import Cores
from sidelight.audits.gates.budget import LeakageBudget
from sidelight.audits.gates.checking import Found
from sidelight.audits.planning.home import held
from sidelight.audits.proofs.survivors import TIMES
from sidelight.audits.runs.parts import load_parts
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.suites.suite_file import load_suite
from sidelight.reports.stored.redact import redacted
from sidelight.reports.stored.results import read_audit
from sidelight.reports.written import FORMATS
from sidelight.system.errors import UsageError
from sidelight.system.progress import Progress
from sidelight.system.randomness import Streams

from .small import BRIEF, KEYWORDS, LOCAL, MOBILLM, PAE, SEED, WORDS, Small, results, run_here

NOTHING = Found(LeakageBudget(limits=()), (), ())


@pytest.fixture(scope="module")
def suite(small: Small) -> Path:
    return small.suite("all", LOCAL, PAE, BRIEF, MOBILLM)


@pytest.fixture(scope="module")
def out(small: Small, suite: Path) -> Path:
    """A finished audit, recorded and attacked in processes of its own."""
    folder = small.root / "out"

    def gate(out: Path) -> Found:
        """Results are held to a budget before anybody else can change them."""
        with pytest.raises(UsageError, match=r"runs in .* already"), held(out):
            pass
        assert (out / "audit.json").is_file()
        return NOTHING

    ended = run_audit(small.request(folder, suite), Cores(1), Progress(lambda line: None), gate)
    assert ended == (True, NOTHING)
    return folder


def rows_of(out: Path) -> list[dict[str, Any]]:
    """Results without what may differ between two audits that are the same, in a fixed order."""
    kept = [{k: v for k, v in row.items() if k not in TIMES} for row in results(out)]
    return sorted(kept, key=lambda row: (row["cell"], str(row["metric"])))


# --- what is stored --------------------------------------------------------------------------------------------


def test_every_attack_has_a_cell_on_every_run_and_no_outcome_is_dropped(out: Path) -> None:
    made = ("composite", "best")  # by the harness, where two attacks on one goal have a score
    found = {(row["protocol"], row["attack"]): row["status"] for row in results(out) if row["attack"] not in made}
    assert {protocol for protocol, _ in found} == {"local", "pae", "mobillm"}
    assert len({attack for _, attack in found}) * 3 == len(found)
    assert {status for (protocol, _), status in found.items() if protocol == "local"} == {"not_exposed"}
    assert found["pae", "sign"] == found["mobillm", "plaintext"] == found["mobillm", "match"] == "scored"
    assert found["mobillm", "sign"] == found["pae", "plaintext"] == "not_exposed"
    assert found["pae", "match"] == "not_applicable"


def test_every_scored_row_has_an_interval_a_twin_and_its_rows(out: Path) -> None:
    scored = [row for row in results(out) if row["status"] == "scored"]
    for row in scored:
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n"] > 0
        assert row["scope"] == "conditional on this victim"
    primary = [row for row in scored if row["primary"]]
    assert all(row["blind_outsider"] and row["verdict"] in ("leaks", "inconclusive") for row in primary)


def test_every_attack_of_a_process_of_its_own_says_how_much_memory_it_took(out: Path) -> None:
    apart = {"best", "composite"}
    rows = [row for row in results(out) if row["status"] == "scored"]
    peaks = {row["attack"]: row["peak_mib"] for row in rows if row["attack"] not in apart}
    assert min(peaks.values()) > 50  # no process with torch in it is smaller
    assert peaks["inverter"] > peaks["sign"]
    assert {row["peak_mib"] for row in rows if row["attack"] in apart} == {None}


def test_known_leaks_are_found(out: Path) -> None:
    values = {(row["protocol"], row["attack"]): row["value"] for row in results(out) if row["primary"]}
    assert values["pae", "sign"] >= 0.99
    assert values["mobillm", "plaintext"] >= 0.99
    assert values["mobillm", "match"] >= 0.99


def test_without_a_control_no_row_is_said_to_resist(out: Path) -> None:
    assert {row["verdict"] for row in results(out)} <= {"leaks", "inconclusive", None}


def test_unscored_rows_have_a_reason_and_no_numbers(out: Path) -> None:
    for row in results(out):
        if row["status"] != "scored":
            assert row["reason"]
            assert row["value"] is None
            assert row["verdict"] is None


def test_everything_written_is_for_the_owner_only(out: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [out, *out.rglob("*")]}
    assert {str(p): oct(mode) for p, mode in modes.items() if p.is_dir() and mode != 0o700} == {}
    assert {str(p): oct(mode) for p, mode in modes.items() if p.is_file() and mode != 0o600} == {}


def test_nothing_half_written_is_left(out: Path) -> None:
    assert [path for path in out.rglob("*") if ".partial-" in path.name or ".old-" in path.name] == []


def test_neither_view_nor_public_holds_a_victims_text_or_a_seed(out: Path) -> None:
    victim = load_parts(out / "truth" / "parts-0.jsonl").victim_train
    streams = Streams(SEED).of("victim 0")
    secrets = [SEED, streams.seed, streams.of("runs").seed, *(sample.text for sample in victim)]
    assert (out / "truth" / "seed").read_text(encoding="utf-8").strip() == SEED
    for path in given_to_attacks(out):
        content = path.read_bytes()
        assert [secret for secret in secrets if secret.encode() in content] == [], path


def test_neither_view_nor_public_says_the_label_of_a_victims_row(out: Path) -> None:
    victim = {sample.id for sample in load_parts(out / "truth" / "parts-0.jsonl").victim_train}
    for path in given_to_attacks(out):
        if path.suffix == ".safetensors":
            continue  # what crossed: a label may stand there, which is what the audit is about
        for found in objects(json.loads(line) for line in lines(path)):
            named = victim & set(strings(found))
            assert not (named and set(KEYWORDS) & set(strings(found))), path


def given_to_attacks(out: Path) -> list[Path]:
    """All files that a worker may read of any run."""
    found = [path for part in ("view", "public") for path in out.glob(f"runs/*/{part}/**/*") if path.is_file()]
    assert len(found) > 12
    return found


def lines(path: Path) -> list[str]:
    content = path.read_text(encoding="utf-8")
    return content.splitlines() if path.suffix == ".jsonl" else [content]


def objects(values: Iterator[Any]) -> Iterator[Any]:
    """Every value with the lists of public.json taken one by one: class names and targets are public, not paired."""
    for value in values:
        yield from value.values() if isinstance(value, dict) and "targets" in value else [value]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def test_what_the_whole_audit_says_of_itself_holds_no_seed_text_or_path(out: Path, small: Small) -> None:
    said = (out / "audit.json").read_text(encoding="utf-8")
    about = json.loads(said)
    assert about["backbone"]["name"] == "opt"
    assert (about["data"]["classes"], about["data"]["victim_train"]) == (3, 36)
    victim = load_parts(out / "truth" / "parts-0.jsonl").victim_train
    assert [s for s in (SEED, str(small.root), *(sample.text for sample in victim)) if s in said] == []


# --- the same again --------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_results_in_another_folder(
    out: Path, small: Small, suite: Path, workers: Workers, tmp_path: Path
) -> None:
    assert run_here(small, tmp_path / "same", suite, workers)[0]
    assert rows_of(tmp_path / "same") == rows_of(out)


def test_another_seed_draws_other_victims(
    out: Path, small: Small, suite: Path, workers: Workers, tmp_path: Path
) -> None:
    whole, lines = run_here(small, tmp_path / "other", suite, workers, seed="one more seed, as hard to guess")
    assert whole, [line for line in lines if "FAILED" in line]
    mine, other = ({row["cell"] for row in rows_of(folder)} for folder in (out, tmp_path / "other"))
    assert mine.isdisjoint(other)
    ids = [
        {sample.id for sample in load_parts(folder / "truth" / "parts-0.jsonl").victim_train}
        for folder in (out, tmp_path / "other")
    ]
    assert ids[0].isdisjoint(ids[1])


def test_a_finished_audit_that_is_run_again_runs_nothing(
    out: Path, small: Small, suite: Path, workers: Workers
) -> None:
    before = {path: path.stat().st_mtime_ns for part in ("runs", "cells") for path in out.glob(f"{part}/**/*")}
    whole, said = run_here(small, out, suite, workers)
    assert whole
    assert [line for line in said if line.startswith(("recorded", "attacked"))] == []
    assert {path: path.stat().st_mtime_ns for part in ("runs", "cells") for path in out.glob(f"{part}/**/*")} == before


def test_the_seed_of_the_folder_is_taken_where_none_is_given_and_no_other_is(
    out: Path, small: Small, suite: Path, workers: Workers
) -> None:
    before = rows_of(out)
    assert run_here(small, out, suite, workers, seed=None)[0]
    assert rows_of(out) == before
    with pytest.raises(UsageError, match="was begun with another seed"):
        run_here(small, out, suite, workers, seed="one more seed, as hard to guess")


def test_another_audit_in_the_same_folder_is_refused_and_leaves_it_as_it_was(
    out: Path, small: Small, workers: Workers
) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="holds another audit; give another --out"):
        run_here(small, out, small.suite("another", PAE), workers)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_another_audit_in_the_folder_of_an_unfinished_one_is_refused_too(
    small: Small, workers: Workers, tmp_path: Path
) -> None:
    out, suite = tmp_path / "out", small.suite("stopped", PAE, 'attacks = ["addback", "sign"]\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sidelight.audits.audit.compile_results", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_here(small, out, suite, workers)
    assert not (out / "audit.json").exists()
    with pytest.raises(UsageError, match="holds another audit; give another --out"):
        run_here(small, out, small.suite("another", MOBILLM), workers)
    assert run_here(small, out, suite, workers)[0]


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


# --- threat models ---------------------------------------------------------------------------------------------


def test_a_private_backbone_withholds_what_attacks_need(small: Small, workers: Workers, tmp_path: Path) -> None:
    suite = small.suite("private", '[threat]\nbackbone = "private"\nauxiliary = "none"\n', PAE, MOBILLM)
    assert run_here(small, tmp_path / "out", suite, workers)[0]
    found = {(row["protocol"], row["attack"]): row for row in results(tmp_path / "out") if row["primary"]}
    assert found["mobillm", "match"]["status"] == "not_applicable"
    assert "does not have: auxiliary, backbone" in found["mobillm", "match"]["reason"]
    assert found["pae", "sign"]["value"] >= 0.99
    assert {row["threat"]["backbone"] for row in found.values()} == {"private"}


# --- what others may do with it ---------------------------------------------------------------------------------


def test_the_stored_suite_is_the_one_that_ran(out: Path, suite: Path) -> None:
    again, ran = load_suite(str(out / "suite.json")), load_suite(str(suite))
    assert again == ran


def test_the_stored_command_names_suite_data_backbone_and_draw(out: Path, small: Small) -> None:
    command = (out / "command.txt").read_text(encoding="utf-8")
    given = shlex.split(command)
    assert given[:3] == ["sidelight", "audit", str(out / "suite.json")]
    assert given[given.index("--data") + 1] == str(small.rows)
    assert given[given.index("--backbone") + 1] == str(small.backbone)
    assert given[given.index("--seed") + 1] == f"$(cat {out / 'truth' / 'seed'})"
    assert SEED not in command


@pytest.mark.parametrize("name", FORMATS)
def test_a_redacted_report_holds_no_word_of_the_victims_beyond_its_own_prose(out: Path, name: str) -> None:
    """Searched for every word of every victim's text and label that no line of the report's own sources has."""
    told = [json.loads(line) for path in out.glob("truth/parts*.jsonl") for line in path.read_text().splitlines()]
    spoken = {word for row in told for word in words_in(json.dumps(row))}
    sources = [path for path in Path(reports.__path__[0]).rglob("*") if path.suffix in (".py", ".jinja")]
    prose = {word for path in sources for word in words_in(path.read_text(encoding="utf-8"))}
    private = ({*WORDS, *KEYWORDS.values()} & spoken) - prose
    assert len(private) > 15
    found = FORMATS[name](redacted(read_audit(out)))
    assert private & set(words_in(found)) == set()


def test_the_search_would_find_them(out: Path) -> None:
    page = FORMATS["html"](read_audit(out))
    assert len({*WORDS, *KEYWORDS.values()} & set(words_in(page))) > 10  # how many depends on whose texts are shown


def words_in(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())
