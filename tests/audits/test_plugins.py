"""A package of somebody else's, really installed: its protocol, attack, defence and metric are used like our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.sandbox.prepared_key import plugged_code

from .small import SEED, Small, results

PACKAGE = Path(__file__).parents[1] / "plugin_package"
SUITE = """
attacks = ["echo", "plaintext"]

[[runs]]
protocol = "posted"

[[runs]]
protocol = "posted"
defences.coin = {}
"""


@dataclass(frozen=True)
class Installed:
    """Where the package was installed."""

    site: Path

    def sidelight(self, *arguments: str) -> str:
        """What the command says, in a process that finds the package."""
        return self.python("-m", "sidelight.system.command", *arguments)

    def python(self, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.site)}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    root = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PACKAGE, root / "source", ignore=shutil.ignore_patterns("__pycache__"))  # the build writes there
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-input", "--no-compile"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(root / "site"), str(root / "source")]
    subprocess.run(command, check=True, capture_output=True)
    return Installed(root / "site")


@pytest.fixture(scope="module")
def audited(package: Installed, small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audited") / "out"
    suite = small.root / "plugins.toml"
    head, _, rest = SUITE.strip().partition("\n")
    suite.write_text(head + "\n" + small.suite("sizes").read_text(encoding="utf-8") + rest, encoding="utf-8")
    options = ["--backbone", str(small.backbone), "--data", str(small.rows), "--seed", SEED, "--executor", "local"]
    package.sidelight("audit", str(suite), *options, "--out", str(out))
    return out


def test_what_the_package_brings_is_listed(package: Installed) -> None:
    code = """
from sidelight.audits.command import list_names
for table in ("protocols", "attacks", "defences", "metrics"):
    list_names(table)
"""
    said = {line.split()[0]: " ".join(line.split()[1:]) for line in package.python("-c", code).splitlines()}
    assert said["posted"] == "A linear head fitted at the server (sidelight-example)"
    assert said["echo"] == "labels: sidelight-example"
    assert said["coin"] == "labels redrawn by a coin (randomised response, Warner 1965)"
    assert said["class_distance"] == "labels: sidelight-example"


def rows(out: Path, label: str, attack: str) -> dict[str, dict[str, Any]]:
    found = [row for row in results(out) if (row["label"], row["attack"]) == (label, attack)]
    return {row["metric"]: row for row in found if row["role"] == "row"}


def test_its_parts_are_audited_like_our_own(audited: Path) -> None:
    theirs, ours = (rows(audited, "posted", attack) for attack in ("echo", "plaintext"))
    assert theirs["accuracy"]["status"] == "scored"
    assert (theirs["accuracy"]["value"], theirs["accuracy"]["verdict"]) == (1.0, "leaks")
    assert {m: row["value"] for m, row in theirs.items()} == {m: row["value"] for m, row in ours.items()}
    defended = rows(audited, "posted + coin", "echo")["accuracy"]
    # a coin keeps half of the labels of three classes, and a third of the others by chance
    assert defended["low"] <= 2 / 3 <= defended["high"]
    assert defended["epsilon"]["unit"] == "label"
    assert defended["epsilon"]["epsilon"] == pytest.approx(1.3862943611)  # ln 4


def test_its_metric_stands_beside_ours_with_twins_and_interval_and_no_verdict(audited: Path) -> None:
    exact = rows(audited, "posted", "echo")["class_distance"]
    assert (exact["value"], exact["low"], exact["advantage"]) == (0.0, 0.0, 1.0)
    found = rows(audited, "posted + coin", "echo")["class_distance"]
    assert (found["primary"], found["judged"], found["verdict"], found["direction"]) == (False, False, None, "lower")
    assert found["low"] < found["value"] < found["high"]
    blind = min(found[twin]["value"] for twin in ("blind_outsider", "blind_rest"))
    assert found["value"] < blind < 1
    assert found["advantage_low"] < found["advantage"] < found["advantage_high"] < 1
    assert found["n"] == rows(audited, "posted + coin", "echo")["accuracy"]["n"]


def test_the_results_say_whose_code_made_them(audited: Path) -> None:
    brought = {
        "protocol posted": "sidelight-example 1.2.3",
        "defence coin": "sidelight-example 1.2.3",
        "attack echo": "sidelight-example 1.2.3",
        "metric class_distance": "sidelight-example 1.2.3",
    }
    about = json.loads((audited / "audit.json").read_text(encoding="utf-8"))
    assert brought.items() <= about["versions"].items()
    assert all(brought.items() <= row["versions"].items() for row in results(audited))
    (view,) = {json.loads(path.read_text(encoding="utf-8"))["facts"]["versions"]["protocol posted"]
               for path in audited.glob("runs/*/view/manifest.json")}  # fmt: skip
    assert view == "sidelight-example 1.2.3"
    page, markdown = ((audited / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    for report in (page, markdown):
        assert "class distance" in report
        assert "sidelight-example 1.2.3" in report


def test_runs_and_cells_are_named_by_the_code_of_the_package(
    package: Installed, audited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(package.site))
    code = plugged_code("sidelight_example")
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in audited.glob("runs/*/run.json")]
    assert {name: digest for run in runs for name, digest in run["identity"]["plug_ins"].items()} == {
        "protocol posted": code, "defence coin": code
    }  # fmt: skip
    stored = [json.loads(path.read_text(encoding="utf-8"))["identity"] for path in audited.glob("cells/*/result.json")]
    assert [one["metrics"] for one in stored if one["attack"] == "plaintext"] == [{"class_distance": code}] * 2
