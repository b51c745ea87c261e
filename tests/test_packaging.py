"""The package list, the folders on disk and what is installed agree."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("system", "attacks", "audits", "benchmarks", "reports")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def declared() -> list[str]:
    packages: list[str] = project()["tool"]["setuptools"]["packages"]
    return packages


def folder(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])


SUITES = ROOT / "benchmarks" / "suites"
"""Run by pytest from the repository; no part of the package."""


def files_of_the_rooms() -> list[Path]:
    found = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    return [
        path
        for path in found
        if "__pycache__" not in path.parts and not path.name.startswith(".") and SUITES not in path.parents
    ]


def test_every_folder_with_python_files_is_a_declared_package() -> None:
    on_disk = {path.parent for path in files_of_the_rooms() if path.suffix == ".py"}
    assert {".".join(("sidelight", *path.relative_to(ROOT).parts)) for path in on_disk} == set(declared())


def test_each_package_is_declared_once() -> None:
    assert len(declared()) == len(set(declared()))


@pytest.mark.parametrize("package", declared())
def test_declared_package_has_its_init_file(package: str) -> None:
    assert (folder(package) / "__init__.py").is_file()


def test_each_room_is_mapped_to_its_folder() -> None:
    assert project()["tool"]["setuptools"]["package-dir"] == {f"sidelight.{room}": room for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_room_declares_that_it_is_typed(room: str) -> None:
    assert (ROOT / room / "py.typed").is_file()


@pytest.mark.parametrize("room", ROOMS)
def test_link_for_type_checkers_leads_to_the_room(room: str) -> None:
    link = ROOT / "tests" / "typing" / "sidelight" / room
    assert link.is_symlink()
    assert link.resolve() == (ROOT / room).resolve()


@pytest.mark.parametrize("package", declared())
def test_installed_package_is_a_real_file(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_file()


def test_every_file_of_the_rooms_is_installed() -> None:
    installed = {room: Path(str(importlib.resources.files(f"sidelight.{room}"))) for room in ROOMS}
    relative = [path.relative_to(ROOT) for path in files_of_the_rooms()]
    missing = [path for path in relative if not installed[path.parts[0]].joinpath(*path.parts[1:]).is_file()]
    assert missing == []


def test_no_room_is_installed_under_a_bare_name() -> None:
    # -I keeps the current folder off the path, so only what is installed can be found.
    # Opacus's wheel has a folder `benchmarks` of its own, which is not ours.
    code = f"""
import importlib.metadata, importlib.util
others = [str(file.locate()) for file in importlib.metadata.files("opacus")]
print([room for room in {ROOMS} if (spec := importlib.util.find_spec(room)) and spec.origin not in others])
"""
    found = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_repository_has_no_folder_called_sidelight() -> None:
    assert not (ROOT / "sidelight").exists()


def test_installed_version_is_the_declared_one() -> None:
    assert importlib.metadata.version("sidelight") == project()["project"]["version"]


def test_citation_names_the_declared_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project()['project']['version']}\n" in citation


def test_constraints_pin_every_requirement_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!]+", pin)] == []
    table = project()
    wanted = [*table["project"]["dependencies"], *table["project"]["optional-dependencies"]["dev"]]
    wanted += table["build-system"]["requires"]
    names = {re.split(r"[<>=]", requirement)[0].lower() for requirement in wanted}
    assert names - {pin.partition("==")[0].lower() for pin in pins} == set()


def test_torch_is_pinned_to_the_tested_release() -> None:
    assert "\ntorch==2.13.0\n" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
