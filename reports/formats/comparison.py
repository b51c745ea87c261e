"""A comparison of two audits in each format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..comparison.compare import Change, Comparison, compare
from ..comparison.difference import Difference
from ..comparison.sentences import sentences
from ..findings.wording import DASH, count, estimate, interval, p_value
from ..stored.records import Estimate
from ..stored.results import Audit
from .html import typeset_environment
from .markdown import markdown_of

ENDS = ("", "_low", "_high")
COLUMNS = (
    "label", "what", *(f"{side}{end}" for side in ("first", "second") for end in ENDS),
    *(f"{side}_advantage{end}" for side in ("first", "second") for end in ENDS), "tested", "difference",
    "difference_low", "difference_high", "p_holm", "significant", "first_verdict", "second_verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """A comparison with what it comes to."""

    comparison: Comparison
    said: tuple[str, ...]


def compared(first: Audit, second: Audit, names: tuple[str, str]) -> Compared:
    """Two audits compared, and told."""
    comparison = compare(first, second, names)
    return Compared(comparison, sentences(comparison, (first.head, second.head)))


def shown(of: Difference | None, digits: int = 3) -> str:
    """A difference with its interval and a sign."""
    if of is None:
        return DASH
    signed = interval(of.value, of.low, of.high, digits)
    return f"+{signed}" if of.value > 0 else signed


def _page(of: Compared) -> str:
    made = typeset_environment()
    made.filters["shown"] = lambda one: shown(one).replace("-", "\N{MINUS SIGN}")
    return made.get_template("comparison.html.jinja").render(vars(of))


def _markdown(of: Compared) -> str:
    return markdown_of("comparison.md.jinja", vars(of), shown=shown)


def _json(of: Compared) -> str:
    changes = [dict(zip(COLUMNS, _flat(one), strict=True)) for one in of.comparison.changes]
    whole = {
        "form": "sidelight-comparison/1",
        "names": of.comparison.names,
        "said": of.said,
        "set_up": [dict(zip(("what", "first", "second"), one, strict=True)) for one in of.comparison.set_up],
        "changes": changes,
        "moved": [asdict(one) for one in of.comparison.moved],
        "only_first": of.comparison.only[0],
        "only_second": of.comparison.only[1],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _csv(of: Compared) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(_flat(one) for one in of.comparison.changes)
    return text.getvalue()


def _flat(one: Change) -> list[object]:
    found, sides = one.difference, (one.first, one.second)
    ends = (None, None, None) if found is None else (found.value, found.low, found.high)
    values = [end for side in sides for end in _ends(side.value)]
    advantages = [end for side in sides for end in _ends(side.advantage)]
    return [
        one.label, one.what, *values, *advantages, one.tested, *ends, one.p_holm, one.significant, *one.verdicts,
    ]  # fmt: skip


def _ends(of: Estimate | None) -> tuple[float | None, ...]:
    return (None, None, None) if of is None else (of.value, of.low, of.high)


FORMATS: Mapping[str, Callable[[Compared], str]] = {"html": _page, "md": _markdown, "csv": _csv, "json": _json}


def show(of: Compared, console: Console) -> None:
    """Print what changed; what did not is counted."""
    first, second = of.comparison.names
    for sentence in of.said:
        console.print(Text(sentence))
    for what, one, other in of.comparison.set_up:
        console.print(Text(f"made with another {what}: {one} / {other}", style="yellow"))
    if noted := [*of.comparison.significant, *of.comparison.turned]:
        table = Table("under", "what", first, second, "change", "of the", "p", box=None, header_style="dim")
        for change in noted:
            table.add_row(*map(Text, _cells(change)), style="bold" if change.significant else "")
        console.print(table)
    for moved in of.comparison.moved:
        console.print(Text(f"{moved.label}, {moved.what}: {count(moved.first)} / {count(moved.second)}"))
    for name, only in zip(of.comparison.names, of.comparison.only, strict=True):
        if only:
            console.print(Text(f"only in {name}: {len(only)} figures"))


def _cells(one: Change) -> tuple[str, ...]:
    told = [f"{estimate(side.value)} {side.verdict}".strip() for side in (one.first, one.second)]
    return one.label, one.what, *told, shown(one.difference), one.tested, p_value(one.p_holm)
