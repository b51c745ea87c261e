"""Jinja with the words that the page and the Markdown share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ..findings import curves, remarks, wording
from ..findings.answer import answer, inputs, unrepeated
from ..findings.claims import claim_tables
from ..findings.front import fronts
from ..findings.highlight import compared
from ..findings.matrix import matrix
from ..findings.next_steps import next_steps
from ..findings.summarise import beside, summarise
from ..findings.summary import ALL_GOALS, GOALS, MEMBERS
from ..findings.traffic import seen
from ..findings.verdicts import verdicts
from ..stored.records import Stored
from ..stored.results import Audit

WORDS = (
    "number", "estimate", "advantage", "count", "seconds", "setting", "words", "attack", "certified", "p_value", "loss",
    "milliseconds", "promise", "about", "breach",
)  # fmt: skip
REMARKS = ("behind", "controls", "doubt", "game", "holm")
CURVES = ("named", "notes", "stronger", "victim", "apart")


def environment(finalize: Callable[[Any], Any] | None = None) -> Environment:
    """An environment that escapes, refuses undefined names and knows the words for rows and curves as filters."""
    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_template),
        finalize=finalize,
    )
    for module, names in ((wording, WORDS), (remarks, REMARKS), (curves, CURVES)):
        made.filters |= {name: getattr(module, name) for name in names}
    made.globals |= {"GOALS": GOALS, "compared": compared, "seen": seen, "facts": facts}
    return made


def _template(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def facts(record: Stored) -> dict[str, Any]:
    """The fields of a record that were stored, apart from notices, which stand in a list of their own."""
    return record.model_dump(exclude_none=True, exclude={"notices"})


def context(audit: Audit) -> Mapping[str, Any]:
    """What both templates are filled with."""
    summaries = summarise(audit)
    answers = verdicts(summaries)
    membership = any(summary.of(MEMBERS) for summary in summaries)
    return {
        "goals": ALL_GOALS if membership else GOALS,
        "audit": audit,
        "head": audit.head,
        "data_name": PurePath(audit.head.data.name).name,
        "summaries": summaries,
        "inputs": inputs(audit),
        "unrepeated": unrepeated(audit),
        "verdicts": answers,
        "next_steps": next_steps(audit, summaries, answers),
        "matrix": matrix(summaries),
        "fronts": fronts(summaries),
        "answer": answer(audit, summaries),
        "claims": claim_tables(summaries),
        "varied": curves.varied(audit),
        "beside": beside(audit),
        "halved": any(row.is_best for summary in summaries for row in summary.scored),
        "picked": any(summary.picked(goal) for summary in summaries for goal in GOALS),
    }
