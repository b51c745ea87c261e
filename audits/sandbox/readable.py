"""Which files a worker may read beside its task: the interpreter, its libraries, and this package's code."""

from __future__ import annotations

import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

from ...system.backbone import local_folder
from ...system.public import Public

PACKAGE = __name__.partition(".")[0]
ROOMS = ("system", "attacks", "audits")
"""The code folders that a worker imports from."""

SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/urandom")


@cache
def code_paths() -> tuple[Path, ...]:
    """Folders and files of the interpreter, the libraries and the package, links followed; some may be absent."""
    return tuple(dict.fromkeys(path.resolve() for path in _code()))


def module_paths(reference: str) -> tuple[Path, ...]:
    """Where the top package or module of a plug-in's "module:Class" stands, found without running its code."""
    top = reference.partition(":")[0].partition(".")[0]
    if top == PACKAGE:
        return ()
    spec = importlib.util.find_spec(top)
    if spec is None:
        return ()
    found = spec.submodule_search_locations or ([spec.origin] if spec.has_location and spec.origin else [])
    return tuple(Path(path).resolve() for path in found)


def model_folders(public: Public) -> tuple[Path, ...]:
    """Folders of the models that an adversary has: a private backbone is not among them."""
    named = {name for name in (public.backbone, public.relative) if name is not None}
    return tuple(sorted({folder for name in named if (folder := local_folder(name)) is not None}))


def _code() -> Iterator[Path]:
    yield from map(Path, SYSTEM)
    yield Path(sys.base_prefix) / "lib"  # where a shared libpython stands
    yield Path(sys.executable)
    yield Path(sys.prefix) / "pyvenv.cfg"
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    yield from map(Path, site.getsitepackages())
    if site.ENABLE_USER_SITE:
        yield Path(site.getusersitepackages())
    for room in ROOMS:
        yield from map(Path, import_module(f"{PACKAGE}.{room}").__path__)
