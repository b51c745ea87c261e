"""report.tex: two tables to take into a paper, with booktabs and longtable; nothing in them is private."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..findings.remarks import judged_on
from ..findings.summarise import summarise
from ..findings.summary import ALL_GOALS, GOALS, MEMBERS, Summary
from ..findings.wording import advantage, count, estimate
from ..stored.results import Audit
from ..stored.rows import Row

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\N{EN DASH}": "--", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}",
}  # fmt: skip
_ANY = re.compile("|".join(map(re.escape, _SPECIAL)))
_ATTACKS = ("Attack", "On", "Value", "Blind outsider", "Blind rest", "Advantage", "Verdict", "$n$")


def latex(audit: Audit) -> str:
    """The overview and the attacks as tables; `\\input` it in a document that loads booktabs and longtable."""
    summaries = summarise(audit)
    return "\n".join([*_told(audit), *_overview(summaries), "", *_attacks(summaries)]) + "\n"


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    flat = re.sub(r"\s+", " ", text)
    return _ANY.sub(lambda found: _SPECIAL[found.group()], flat)


def _told(audit: Audit) -> Iterator[str]:
    yield r"% Needs \usepackage{booktabs,longtable}."
    head = audit.head
    made = (
        f"Sidelight {head.versions.get('sidelight', '')}, suite {head.suite}, {head.created}, victims: {head.victims}"
    )
    yield "% " + re.sub(r"\s+", " ", f"{made}, backbone {head.backbone.name} {head.backbone.digest}")


def _overview(summaries: Sequence[Summary]) -> Iterator[str]:
    goals = ALL_GOALS if any(summary.of(MEMBERS) for summary in summaries) else GOALS
    yield rf"\begin{{tabular}}{{l{'l' * len(goals)}lrr}}"
    yield r"\toprule"
    yield _line(["Protocol", *(said.capitalize() for said in goals.values()), "Utility", "Bytes up", "Bytes down"])
    yield r"\midrule"
    for s in summaries:
        found = [_leak(s, goal) for goal in goals]
        yield _line([escaped(s.name), *found, escaped(estimate(s.group.utility)), count(s.uplink), count(s.downlink)])
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _leak(summary: Summary, goal: str) -> str:
    row = summary.strongest(goal)
    if row is None:
        return r"\emph{nothing crosses}" if summary.silent else r"\emph{not audited}"
    return escaped(f"{estimate(row)} {row.verdict or ''}".strip())


def _attacks(summaries: Sequence[Summary]) -> Iterator[str]:
    yield r"\begin{longtable}{llllllrr}"
    yield r"\toprule"
    yield _line(_ATTACKS)
    yield r"\midrule\endhead"
    for s in summaries:
        yield rf"\multicolumn{{8}}{{l}}{{\textbf{{{escaped(s.name)}}}}} \\"
        yield from (_line(_row(s, row)) for row in s.scored)
        yield from (_line([escaped(s.named(row)), escaped(judged_on(row)), "failed", *[""] * 5]) for row in s.failed)
    yield r"\bottomrule"
    yield r"\end{longtable}"


def _row(summary: Summary, row: Row) -> list[str]:
    twins = (estimate(row.blind_outsider), estimate(row.blind_rest), advantage(row))
    told = (summary.named(row), judged_on(row), estimate(row), *twins, row.verdict or "", count(row.n))
    return [escaped(one) for one in told]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
