"""The import contracts name every module they must, and break when an import crosses a wall."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("system", "attacks", "audits", "benchmarks", "reports")
OPEN_TO_ATTACKS = {
    "adapters", "anatomy", "backbone", "clipping", "codec", "difference", "envelope", "errors", "files", "folder",
    "forward", "heads", "language", "low_rank", "message", "message_pb2", "packets", "partial", "fusion", "public",
    "references",
    "registry", "released", "rounding", "selector", "side_network", "transcript", "versions", "view", "weights",
}  # fmt: skip

PLANTED = {
    "rooms": ("system/planted.py", "from ..attacks import labels\n"),
    "benchmarks-without-attacks": ("benchmarks/planted.py", "from ..attacks import labels\n"),
    "attacks-see-views": ("attacks/labels/planted.py", "from ...system import truth\n"),
    "rooms-of-evidence": ("attacks/evidence/pivots/planted.py", "from ..labels import naming\n"),
    "audit-steps": ("audits/suites/planted.py", "from ..planning import plan\n"),
    "light-commands": ("reports/command.py", "\n\nimport torch\n"),
    "no-pickle": ("audits/planted.py", "import pickle\n"),
}


def contracts() -> dict[str, dict[str, Any]]:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return {contract["id"]: contract for contract in tool["importlinter"]["contracts"]}


def test_every_module_of_system_is_either_open_to_attacks_or_forbidden() -> None:
    inside = (path for path in (ROOT / "system").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())
    modules = {path.stem for path in inside} - {"__init__"}
    forbidden = {
        name.removeprefix("sidelight.system.") for name in contracts()["attacks-see-views"]["forbidden_modules"]
    }
    assert forbidden & OPEN_TO_ATTACKS == set()
    assert modules - OPEN_TO_ATTACKS == forbidden


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What lint-imports says of a copy of the five folders with one forbidden import for each contract."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for room in ROOMS:
        only_code = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / room, copy / "sidelight" / room, ignore=only_code)
    for path, line in PLANTED.values():
        with (copy / "sidelight" / path).open("a", encoding="utf-8") as module:
            module.write(line)
    code = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    return subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False)


def test_a_plant_is_made_for_every_contract() -> None:
    assert PLANTED.keys() == contracts().keys()


@pytest.mark.parametrize("contract", PLANTED)
def test_a_forbidden_import_breaks_its_contract(contract: str, broken: subprocess.CompletedProcess[str]) -> None:
    assert broken.returncode == 1
    assert f"{contracts()[contract]['name']} BROKEN" in " ".join(broken.stdout.split())
