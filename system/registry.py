"""Plain tables of plug-ins, filled here and by other people's entry points, with loud errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from .errors import UnknownName, UsageError

T = TypeVar("T")


class Registry(Generic[T], Mapping[str, T]):
    """Names to plug-ins: a table of "module:Class" strings, imported when first asked for."""

    def __init__(self, what: str, table: Mapping[str, str], group: str) -> None:
        self.what = what
        self._table = dict(table)
        self._origins: dict[str, str] = {}
        self._package = __name__.rpartition(".")[0].rpartition(".")[0]
        for point in entry_points(group=group):
            if point.name in self._table:
                raise UsageError(f"two plug-ins call themselves {what} {point.name!r}; uninstall one")
            self._table[point.name] = point.value
            if point.dist is not None:
                self._origins[point.name] = f"{point.dist.name} {point.dist.version}"

    def __getitem__(self, name: str) -> T:
        if name not in self._table:
            raise UnknownName(self.what, name, self._table)
        try:
            return self._load(name)
        except Exception as error:
            if name not in self._origins:
                raise
            said = f"({type(error).__name__}: {error}); repair its package or uninstall it"
            raise UsageError(f"the {self.what} {name!r} of {self._origins[name]} cannot be loaded {said}") from error

    def _load(self, name: str) -> T:
        module, _, attribute = self._table[name].partition(":")
        relative = import_module(module, self._package) if module.startswith(".") else import_module(module)
        return cast(T, getattr(relative, attribute))

    def origins(self, names: Iterable[str]) -> dict[str, str]:
        """Of those that other people's packages brought: "attack NAME" and the package with its version."""
        return {f"{self.what} {name}": self._origins[name] for name in sorted({*names}) if name in self._origins}

    def broken(self) -> dict[str, str]:
        """Other people's plug-ins that cannot be loaded, each with the sentence that refuses it."""
        found = {}
        for name in sorted(self._origins):
            try:
                self[name]
            except UsageError as error:
                found[name] = str(error)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name: object) -> bool:
        return name in self._table
