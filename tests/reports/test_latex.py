"""LaTeX prints every name as it is, and every row of the tables is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidelight.reports.formats.latex import escaped, latex
from sidelight.reports.stored.results import read_audit


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a_b & 5 % {x}", r"a\_b \& 5 \% \{x\}"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("two\nlines", "two lines"),
        ("x^2 ~ $y$ #1", r"x\textasciicircum{}2 \textasciitilde{} \$y\$ \#1"),
    ],
)
def test_special_characters_are_printed_not_run(text: str, printed: str) -> None:
    assert escaped(text) == printed


def test_every_line_of_a_table_has_all_its_cells(full: Path) -> None:
    text = latex(read_audit(full))
    overview, attacks = re.findall(r"\\begin\{(?:tabular|longtable)\}\{(\w+)\}", text)
    body = text[text.index(r"\begin{longtable}") :]
    for columns, part in ((overview, text[: -len(body)]), (attacks, body)):
        lines = [line for line in part.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert lines
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(columns)}


def test_braces_and_environments_close(full: Path) -> None:
    bare = re.sub(r"\\[{}]", "", latex(read_audit(full)))
    assert bare.count("{") == bare.count("}")
    assert re.findall(r"\\begin\{(\w+)\}", bare) == re.findall(r"\\end\{(\w+)\}", bare)
