"""What a cache is, and the one that lives and dies with its process.

Shapes: B samples of a call; a row is one sample's tensor of any shape, the same for all samples of a kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch

from ..codec import Precision
from ..errors import ProtocolError


class Absent(KeyError):
    """Samples that are asked for and not there."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(f"{len(ids)} samples are not in the cache")
        self.ids = tuple(ids)


class Cache(ABC):
    """Rows by kind and sample id. What was put stays as it was until it is forgotten."""

    def put(self, kind: str, ids: Sequence[str], rows: torch.Tensor, precision: Precision = "fp32") -> None:
        """Keep rows (B, ...), durable on return; what is there already with the same values is left alone.

        `precision` is the one at which the values cross or crossed, and says how finely they have to be kept. Raises
        ProtocolError where an id is there with other values: what may have been trained on never changes.
        """
        new = set(self.missing(kind, ids))
        for sample_id, row in zip(ids, rows, strict=True):
            if sample_id not in new and not torch.equal(self.rows(kind, [sample_id])[0], row):
                raise ProtocolError(f"{kind} of a sample came with other values than before; let it be forgotten first")
        fresh = {sample_id: row for sample_id, row in zip(ids, rows, strict=True) if sample_id in new}
        if fresh:
            self._write(kind, fresh, precision)

    @abstractmethod
    def _write(self, kind: str, rows: Mapping[str, torch.Tensor], precision: Precision) -> None:
        """Keep rows of ids that are not there, all or none."""

    @abstractmethod
    def rows(self, kind: str, ids: Sequence[str]) -> torch.Tensor:
        """(B, ...) in the order of `ids`; raises Absent."""

    def kept(self, kind: str, ids: Sequence[str]) -> torch.Tensor:
        """As `rows`, of the type in which the values are kept where that is another: half the bytes, or fewer."""
        return self.rows(kind, ids)

    @abstractmethod
    def missing(self, kind: str, ids: Iterable[str]) -> list[str]:
        """The ids, in their order, of which nothing of this kind is there."""

    @abstractmethod
    def forget(self, ids: Iterable[str]) -> None:
        """Remove samples with everything of them; those that are not there are passed over."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything."""


class MemoryCache(Cache):
    """Keeps rows in memory, exactly as they are."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, torch.Tensor]] = {}

    def _write(self, kind: str, rows: Mapping[str, torch.Tensor], precision: Precision) -> None:
        self._rows.setdefault(kind, {}).update({sample_id: row.clone() for sample_id, row in rows.items()})

    def rows(self, kind: str, ids: Sequence[str]) -> torch.Tensor:
        of_kind = self._rows.get(kind, {})
        try:
            return torch.stack([of_kind[sample_id] for sample_id in ids])
        except KeyError:
            raise Absent(self.missing(kind, ids)) from None

    def missing(self, kind: str, ids: Iterable[str]) -> list[str]:
        of_kind = self._rows.get(kind, {})
        return [sample_id for sample_id in ids if sample_id not in of_kind]

    def forget(self, ids: Iterable[str]) -> None:
        for sample_id in ids:
            for of_kind in self._rows.values():
                of_kind.pop(sample_id, None)

    def clear(self) -> None:
        self._rows.clear()
