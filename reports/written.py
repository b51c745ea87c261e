"""Reports as files in the audit's folder, each written whole."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from ..system.files import write_text
from .formats.html import html
from .formats.markdown import markdown
from .formats.plain import as_csv, as_json
from .formats.table import show
from .stored.redact import redacted
from .stored.results import Audit, read_audit

FORMATS: Mapping[str, Callable[[Audit], str]] = {"html": html, "md": markdown, "csv": as_csv, "json": as_json}
PIPED_WIDTH = 100


def write_reports(out: Path, redact: bool = False) -> Path:
    """Write report.html and report.md; the path of the page."""
    return _write_both(_read(out, redact), out)


def show_and_write(out: Path, redact: bool = False) -> Path:
    """Print the table, then write report.html and report.md; the path of the page."""
    audit = _read(out, redact)
    # a pipe has no width of its own, and 80 columns would fold the intervals
    show(audit, Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH))
    return _write_both(audit, out)


def write_format(out: Path, name: str, redact: bool = False) -> Path:
    """Write one format; its path."""
    return _write(_read(out, redact), out, name)


def _read(out: Path, redact: bool) -> Audit:
    audit = read_audit(out)
    return redacted(audit) if redact else audit


def _write_both(audit: Audit, out: Path) -> Path:
    _write(audit, out, "md")
    return _write(audit, out, "html")


def _write(audit: Audit, out: Path, name: str) -> Path:
    path = out / f"report.{name}"
    write_text(path, FORMATS[name](audit))
    return path
