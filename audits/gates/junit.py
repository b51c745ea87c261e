"""A budget's outcome as JUnit XML, as Jenkins, GitLab and GitHub's readers take it.

One suite, one case a check; what broke a limit is a failure, what failed to run an error, what an attack does not apply
to is skipped. Readers tell cases apart by class and name alone, so that no two have both in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from .check import Check
from .checking import Found
from .wording import limit_words, notes, said, subject, verdict

SUITE = "sidelight leakage budget"
TAGS = {
    "failed": "error",
    "exceeded": "failure",
    "missed": "failure",
    "no interval": "failure",
    "not measured": "failure",
    "not applicable": "skipped",
}
"""Of outcomes that do not simply pass."""


def junit(found: Found) -> str:
    """The whole file."""
    counts = Counter(TAGS.get(check.outcome, "passed") for check in found.checks)
    numbers = {"tests": len(found.checks), "failures": counts["failure"], "errors": counts["error"]}
    totals = {name: str(number) for name, number in numbers.items()}
    root = Element("testsuites", {"name": SUITE, "time": "0", **totals})
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    own = {"name": SUITE, "time": "0", "timestamp": stamp, "hostname": "localhost", "skipped": str(counts["skipped"])}
    suite = SubElement(root, "testsuite", {**own, **totals})
    properties = SubElement(suite, "properties")
    for at, limit in found.budget.numbered():
        SubElement(properties, "property", {"name": f"limit {at}", "value": limit_words(limit)})
    for check, name in _named(found):
        _case(suite, check, name)
    SubElement(suite, "system-out").text = "\n".join([verdict(found), *notes(found)])
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _named(found: Found) -> Iterator[tuple[Check, str]]:
    times: Counter[tuple[int, str]] = Counter()
    for check in found.checks:
        name = subject(check)
        times[check.limit, name] += 1
        again = times[check.limit, name]
        yield check, name if again == 1 else f"{name} ({again})"


def _case(suite: Element, check: Check, name: str) -> None:
    case = SubElement(suite, "testcase", {"classname": f"sidelight.limit-{check.limit}", "name": name, "time": "0"})
    words = said(check)
    if (tag := TAGS.get(check.outcome)) is None:
        SubElement(case, "system-out").text = words
    elif tag == "skipped":
        SubElement(case, tag, {"message": words})
    else:
        SubElement(case, tag, {"type": check.outcome, "message": words}).text = words
