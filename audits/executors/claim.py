"""What every node of a cluster must share with the audit that asks it: the folder, the libraries, the code."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...system.errors import SidelightError, UsageError
from ..planning import home
from ..runs.recording import LIBRARIES
from ..sandbox.prepared_key import code_version


@dataclass(frozen=True)
class Claim:
    """Plain values: it crosses to another machine."""

    out: str
    """The audit's folder, at the same place on every node."""
    token: str
    """What its lock holds."""
    private: Sequence[str]
    """What no worker may read."""
    versions: Mapping[str, str]
    code: str
    """Digest of the sources that attacks and preparations run."""

    def check(self) -> None:
        """UsageError or SidelightError where this machine does not share it."""
        if home.mark(Path(self.out)) != self.token:
            raise UsageError(f"{here()} does not see {self.out}: give an --out that all nodes of the cluster share")
        for name, asked in self.versions.items():
            if (found := _version(name)) != asked:
                raise SidelightError(f"{here()} has {name} {found}, the audit {asked}: install the same on all nodes")
        if code_version(__name__) != self.code:
            raise SidelightError(f"{here()} has other code of Sidelight than the audit: install the same on all nodes")


def claim_of(out: Path, private: Sequence[Path]) -> Claim:
    """The claim of the audit that holds a folder, which is marked."""
    versions = {name: version(name) for name in LIBRARIES}
    hidden = [str(path.resolve()) for path in private]
    return Claim(str(out.resolve()), home.marked(out), hidden, versions, code_version(__name__))


def here() -> str:
    """This machine, as errors name it."""
    return f"node {platform.node()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def weakest(sandboxes: Sequence[str]) -> str:
    """The sandbox that keeps least: `none`, else the oldest version of Landlock."""
    return min(sandboxes, key=lambda name: (name != "none", int(name.rpartition("v")[2]) if name != "none" else 0))
