"""The command line answers fast and finds its subcommands."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "datasets", "sklearn", "scipy")
COMMANDS = sorted(entry.name for entry in importlib.metadata.entry_points(group="sidelight.commands"))

SHOW_HELP = f"""
import sys
from sidelight.system.command import main
sys.argv = ["sidelight", *sys.argv[1:], "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("imported:", sorted(set({HEAVY}) & set(sys.modules)))
"""


def show_help(*command: str) -> str:
    line = [sys.executable, "-c", SHOW_HELP, *command]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def test_help_names_every_subcommand_without_importing_a_heavy_library() -> None:
    shown = show_help()
    assert [name for name in COMMANDS if name not in shown] == []
    assert shown.endswith("imported: []\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_subcommand_imports_no_heavy_library(command: str) -> None:
    assert show_help(command).endswith("imported: []\n")


def test_the_documented_subcommands_are_installed() -> None:
    assert {"audit", "record", "attack", "report", "list"} <= set(COMMANDS)


def test_no_subcommand_is_registered_twice() -> None:
    assert len(COMMANDS) == len(set(COMMANDS))
