"""What each label's difference would be, without one tensor of all of them: inner products and lengths suffice.

Row r of a book is the target of class `owners[r]`. With the backbone's share f_i of sample i, that target would give
the difference x_ir = height * book_r - f_i, before any secret transform. A probability difference has height 1.

Shapes: N samples, K classes, R rows of the book (K for one-hot targets), D values of a difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn.functional import one_hot

from ....system.public import Public
from ....system.view import finite
from ..differences import backbone_share


@dataclass(frozen=True)
class Candidates:
    """Differences x_ir in float64, by their parts."""

    book: torch.Tensor
    """(R, D) targets at height one."""
    owners: torch.Tensor
    """(R,) int64: the class of each row."""
    shares: torch.Tensor
    """(N, D) f, what the device took away."""
    height: float = 1.0
    opinion: torch.Tensor | None = None
    """(N, R) the backbone's own probability of each row; None where it has no opinion."""

    def squares(self, height: float | None = None) -> torch.Tensor:
        """Squared lengths |x_ir|^2 (N, R)."""
        c = self.height if height is None else height
        crossed = self.shares @ self.book.T
        found = c * c * self.book.square().sum(1) - 2 * c * crossed + self.shares.square().sum(1, keepdim=True)
        return found.clamp(min=0)

    def dots(self, vectors: torch.Tensor) -> torch.Tensor:
        """Inner products (N, R) of each sample's vector (N, D) with its candidates."""
        return self.height * vectors @ self.book.T - (vectors * self.shares).sum(1, keepdim=True)

    def expected(self, weights: torch.Tensor) -> torch.Tensor:
        """Each sample's candidates (N, D) summed with weights (N, R)."""
        return self.height * weights @ self.book - weights.sum(1, keepdim=True) * self.shares

    def turned(self, transform: torch.Tensor) -> Candidates:
        """The candidates behind a linear map (D, any width): x is sent as x @ transform."""
        return replace(self, book=self.book @ transform, shares=self.shares @ transform)

    def of(self, samples: torch.Tensor) -> Candidates:
        """The candidates of some samples, by index."""
        opinion = None if self.opinion is None else self.opinion[samples]
        return replace(self, shares=self.shares[samples], opinion=opinion)

    def labels(self, weights: torch.Tensor) -> torch.Tensor:
        """The class (N,) with the largest sum of weights (N, R)."""
        totals = torch.zeros(len(weights), int(self.owners.max()) + 1, dtype=weights.dtype)
        return totals.index_add(1, self.owners, weights).argmax(1)


def candidates_of(public: Public, pivots: torch.Tensor, shares: torch.Tensor | None = None) -> Candidates:
    """The candidates for pivots (N, L, d), or for shares (N, D) that were computed already; a revealed book is used."""
    logit = public.facts["difference"] == "logit"
    taken = finite((backbone_share(public, pivots) if shares is None else shares).double())
    book, owners = _book(public, taken.shape[1])
    width = max(book.shape[1], taken.shape[1])
    height = float(public.facts["scale"]) if logit else 1.0
    opinion = (taken.softmax(1) if logit else taken) if len(book) == taken.shape[1] else None
    return Candidates(_padded(book, width), owners, _padded(taken, width), height, opinion)


def _book(public: Public, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and their classes: every codeword that a control reveals, else one-hot."""
    classes = torch.arange(len(public.labels))
    if public.keys is not None and "book" in public.keys:
        book = public.keys["book"].double()
        return book.flatten(0, 1), classes.repeat_interleave(book.shape[1])
    return one_hot(classes, max(width, len(classes))).double(), classes


def _padded(rows: torch.Tensor, width: int) -> torch.Tensor:
    """Zeros where columns are unknown."""
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]))
