"""Which tests one process has: those that share what is slow to make.

xdist's own `loadgroup` puts the group behind a test's id by way of `_nodeid`, which pytest 9.2 does not read, so that
marks have no effect. Tests are grouped by their ids instead.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

CONTRACTS = "tests/contracts/"
"""Too long for one process: there, tests of one variant or attack share their runs."""


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist is not typed here
    """A file's tests go to one process, the contracts' by what they are about."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def group(nodeid: str) -> str:
    """The group of a test: of `a/test_b.py::test_c[d]` its file, and under `CONTRACTS` also `d`."""
    path, _, name = nodeid.partition("::")
    return path + name.partition("[")[1] + name.partition("[")[2] if path.startswith(CONTRACTS) else path
