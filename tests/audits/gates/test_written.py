"""What is written of a budget: JUnit XML that readers take, JSON for reports, nothing private in either."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sidelight.audits.cells.cell import Scored
from sidelight.audits.gates.checking import Found
from sidelight.audits.gates.junit import junit
from sidelight.audits.gates.wording import clean
from sidelight.audits.gates.written import stored, write

from ..synthetic import Made, rows
from .held import group, held

ALLOWED = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "time", "tests", "failures", "errors", "skipped", "timestamp", "hostname"},
    "testcase": {"name", "time", "classname"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
    "properties": set(),
    "property": {"name", "value"},
    "system-out": set(),
}
"""Attributes of each element in the schema of Jenkins' xUnit plug-in (junit-10.xsd)."""
INSIDE = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out"},
    "testcase": {"failure", "error", "skipped", "system-out"},
    "properties": {"property"},
}
REQUIRED = {"testsuite": {"name", "tests", "failures", "errors"}, "testcase": {"name"}, "property": {"name", "value"}}
PRIVATE = ("/home/alice", "alice", "secret word", "C:\\Users")
HOSTILE = "pae (adapter=/home/alice/runs, note=<b>\x07&\"']]>, at=C:\\Users\\alice)"
BUDGET = """
[[limit]]
goal = "labels"
max_value = 0.5

[[limit]]
goal = "texts"
max_advantage = 0.05
"""


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Most outcomes at once, on two runs."""
    made = Made(tmp_path / "audit")
    for label in ("pae", "pae (1)"):
        made.entry(group(made, label), "sign", rows(0.1))
        made.entry(label, "addback", rows(0.9))
        made.entry(label, "plaintext", Scored("not_exposed", "the adversary never receives labels"))
        made.entry(label, "gradient", Scored("not_applicable", "what is in /home/alice/rows.jsonl"))
        made.entry(label, "match", Scored("failed", "ValueError: 'secret word' in /home/alice/rows.jsonl"))
    return held(made, BUDGET)


def hostile(found: Found) -> Found:
    """The same where runs have a name that no file may hold as it is."""
    checks = tuple(replace(one, subject=replace(one.subject, label=HOSTILE)) for one in found.checks)
    return replace(found, checks=checks)


def test_the_file_has_the_structure_that_readers_take(found: Found) -> None:
    root = ElementTree.fromstring(junit(found))
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) <= ALLOWED[element.tag]
        assert set(element.attrib) >= REQUIRED.get(element.tag, set())
        assert {child.tag for child in element} <= INSIDE.get(element.tag, set())
    [suite] = root
    for case in suite.iter("testcase"):
        assert len(case) == 1


def test_counts_are_those_of_the_cases(found: Found) -> None:
    root = ElementTree.fromstring(junit(found))
    tags = Counter(case[0].tag for case in root.iter("testcase"))
    assert tags == {"system-out": 4, "failure": 2, "error": 2, "skipped": 2}
    for element in (root, root[0]):
        numbers = [int(element.attrib[name]) for name in ("tests", "failures", "errors")]
        assert numbers == [tags.total(), tags["failure"], tags["error"]]
    assert root[0].attrib["skipped"] == str(tags["skipped"])


def test_a_failure_says_what_broke_the_limit_in_its_message_and_in_its_text(found: Found) -> None:
    [first, _] = ElementTree.fromstring(junit(found)).iter("failure")
    assert first.attrib["type"] == "exceeded"
    assert first.attrib["message"].startswith("exceeded: value 0.9000 [")
    assert first.text == first.attrib["message"]


def test_no_two_cases_have_one_name(found: Found) -> None:
    """Readers take the first of several cases with one class and name, and lose the others."""
    for one in (found, hostile(found)):
        cases = ElementTree.fromstring(junit(one)).iter("testcase")
        names = [(case.attrib["classname"], case.attrib["name"]) for case in cases]
        assert len(set(names)) == len(names) == len(one.checks)
        assert {name.count(".") for name, _ in names} == {1}, "Jenkins cuts a class's name at its last dot"


def test_nothing_private_and_nothing_that_breaks_xml_is_written(found: Found, tmp_path: Path) -> None:
    for one in (found, hostile(found)):
        write(tmp_path, one)
        text = (tmp_path / "junit.xml").read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        for written in (text, (tmp_path / "budget.json").read_text(encoding="utf-8")):
            assert [word for word in PRIVATE if word in written] == []
            assert "\x07" not in written


def test_the_stored_outcome_holds_limits_breaches_and_counts(found: Found, tmp_path: Path) -> None:
    write(tmp_path, found)
    told = json.loads((tmp_path / "budget.json").read_text(encoding="utf-8"))
    assert (told["schema"], told["kept"], told["outcome"]) == (1, False, "over budget")
    first, second = told["limits"]
    assert first["given"] == {"goal": "labels", "max_value": 0.5}
    assert first["counts"] == {"within": 2, "exceeded": 2, "not exposed": 2, "not applicable": 2}
    assert (first["kept"], second["kept"], second["counts"]) == (False, False, {"failed": 2})
    assert len(told["breaches"]) == len(found.broken) == 4
    breach = told["breaches"][0]
    assert (breach["attack"], breach["goal"], breach["metric"], breach["outcome"]) == (
        "addback", "labels", "accuracy", "exceeded",
    )  # fmt: skip
    assert (breach["value"], breach["at"], breach["bound"], breach["limit"]) == (0.9, 0.5, "max_value", 1)


def test_a_kept_budget_says_so_and_no_more(tmp_path: Path) -> None:
    made = Made(tmp_path / "audit")
    made.entry(group(made, "pae"), "sign", rows(0.1))
    told = stored(held(made, 'goal = "labels"\nmax_value = 0.5'))
    assert (told["kept"], told["outcome"], told["breaches"]) == (True, "within budget", [])
    assert "safe" not in json.dumps(told)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("pae (adapter=/home/alice/x)", "pae (adapter=[path])"),
        ("at ~/x and ../y and ./z", "at [path] and [path] and [path]"),
        ("split (backbone=facebook/opt-125m)", "split (backbone=facebook/opt-125m)"),
        ("a/b/c", "[path]"),
        ("pae (adapter=mine.safetensors)", "pae (adapter=[path])"),
        ("pae (side.epochs=3, lr=1/2) + noise (epsilon=2.0)", "pae (side.epochs=3, lr=1/2) + noise (epsilon=2.0)"),
        ("a\x00b\ud800c", "a?b?c"),
    ],
)
def test_paths_and_what_xml_cannot_hold_are_taken_out(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
