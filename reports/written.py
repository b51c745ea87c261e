"""Reports as files in the audit's folder, each written whole."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from ..benchmarks.stored import holds_findings, read_findings
from ..system.errors import UsageError
from ..system.files import write_text
from .formats import benchmarks, comparison
from .formats.html import html
from .formats.latex import latex
from .formats.markdown import markdown
from .formats.separated import as_csv
from .formats.table import show
from .formats.whole import as_json
from .stored.redact import redacted
from .stored.results import Audit, read_audit

FORMATS: Mapping[str, Callable[[Audit], str]] = {
    "html": html, "md": markdown, "csv": as_csv, "json": as_json, "latex": latex,
}  # fmt: skip
SUFFIXES = {"latex": "tex"}
"""Of files, where it is not the format's name."""
PIPED_WIDTH = 100
COMPARISON, BENCHMARKS = "comparison", "benchmarks"


def write_reports(out: Path, redact: bool = False) -> Path:
    """Write report.html and report.md; the path of the page."""
    return _write_both(_read(out, redact), out)


def show_and_write(out: Path, redact: bool = False) -> Path:
    """Print the table, then write report.html and report.md; the path of the page. A benchmark's folder has its own."""
    if holds_findings(out):
        return write_benchmarks(out)
    audit = _read(out, redact)
    show(audit, _console())
    return _write_both(audit, out)


def write_format(out: Path, name: str, redact: bool = False) -> Path:
    """Write one format; its path."""
    if holds_findings(out):
        return write_benchmarks(out, name)
    return _write(out / "report", name, FORMATS[name](_read(out, redact)))


def write_benchmarks(out: Path, name: str | None = None) -> Path:
    """Write the page of what benchmarks found, or one format of it; the path of what was written."""
    if name is not None and name not in benchmarks.FORMATS:
        raise UsageError(f"benchmarks are not written as {name}; give one of {', '.join(benchmarks.FORMATS)}")
    made = read_findings(out)
    if name is None:
        _write(out / BENCHMARKS, "md", benchmarks.markdown(made))
        _console().print(benchmarks.answer(made))
    return _write(out / BENCHMARKS, name or "html", benchmarks.FORMATS[name or "html"](made))


def compare_and_write(first: Path, second: Path, name: str | None, redact: bool = False) -> Path:
    """Compare two audits: print what changed, or write one format beside the second; the path of what was written."""
    if name is not None and name not in comparison.FORMATS:
        raise UsageError(f"a comparison is not written as {name}; give one of {', '.join(comparison.FORMATS)}")
    if any(map(holds_findings, (first, second))):
        raise UsageError(
            "benchmarks that ran at two times are not compared; "
            "`python -m sidelight.benchmarks.regression COMMIT COMMIT` runs two commits in turns"
        )
    audits = (_read(first, redact), _read(second, redact))
    names = ("first", "second") if redact else _names(first, second)
    of = comparison.compared(*audits, names)
    if name is None:
        comparison.show(of, _console())
        _write(second / COMPARISON, "md", comparison.FORMATS["md"](of))
    return _write(second / COMPARISON, name or "html", comparison.FORMATS[name or "html"](of))


def _names(first: Path, second: Path) -> tuple[str, str]:
    """What the folders are called, as much of their paths as tells them apart."""
    one, other = first.resolve(), second.resolve()
    return (one.name, other.name) if one.name != other.name else (str(first), str(second))


def _console() -> Console:
    # a pipe has no width of its own, and 80 columns would fold the intervals
    return Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)


def _read(out: Path, redact: bool) -> Audit:
    audit = read_audit(out)
    return redacted(audit) if redact else audit


def _write_both(audit: Audit, out: Path) -> Path:
    _write(out / "report", "md", markdown(audit))
    return _write(out / "report", "html", html(audit))


def _write(path: Path, name: str, text: str) -> Path:
    whole = path.with_name(f"{path.name}.{SUFFIXES.get(name, name)}")
    write_text(whole, text)
    return whole
