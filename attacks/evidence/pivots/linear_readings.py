"""Linear readings of texts from states: how often each token stands in a text, and roughly what stands where.

Least squares of made texts, in closed form: gradient descent needs far longer for the same. Place readings are of
embeddings, scaled so that their products with the output matrix are log-odds of linear discriminant analysis with the
covariance of all embeddings.

Memory: two or three times (F + 1) (F + V + K d) values, F at most as many as texts that the features are fitted on.

Shapes: B texts, F features, K slots of places, d width of the output embeddings, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from .decoder import BAG, LARGEST, PLACES, SLOTS, neighbours

RIDGE = 0.02


@torch.no_grad()
def linear_readings(
    batches: Iterable[tuple[Sequence[Sequence[int]], torch.Tensor]], table: torch.Tensor, longest: int
) -> dict[str, torch.Tensor]:
    """`bag` (F + 1, V) and `places` (F + 1, K d), constant last, from batches of texts and their features (B, F)."""
    goals, slots = _goals(table), neighbours(longest + 1).argmax(1)
    sums: list[torch.Tensor] = []
    count = 0
    for texts, features in batches:
        rows = torch.cat([features.clamp(-LARGEST, LARGEST), torch.ones(len(features), 1)], 1)
        said, stood = torch.zeros(len(rows), len(table)), torch.zeros(len(rows), SLOTS, table.shape[1])
        for i, text in enumerate(texts):
            tokens = torch.tensor(text)
            said[i].index_add_(0, tokens, torch.ones(len(text)))
            stood[i].index_add_(0, slots[: len(text)], goals[tokens])
        parts = (rows, said, stood.flatten(1))
        sums = sums or [torch.zeros(rows.shape[1], part.shape[1]) for part in parts]
        for whole, part in zip(sums, parts, strict=True):
            whole.addmm_(rows.T, part)
        count += len(rows)
    gram, *told = sums
    return dict(zip((BAG, PLACES), _solved(gram, told, count), strict=True))


def _goals(table: torch.Tensor) -> torch.Tensor:
    """(V, d) of which a product with the output matrix (V, d) gives log-odds."""
    wide = table - table.mean(0)
    covariance = wide.T @ wide / len(wide)
    covariance += 1e-3 * covariance.trace() / len(covariance) * torch.eye(len(covariance))
    found: torch.Tensor = torch.linalg.solve(covariance, wide.T).T
    return found


def _solved(gram: torch.Tensor, told: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Coefficients (F + 1, ...) of each reading by ridge regression; the constant is hardly shrunk."""
    ridge = torch.full((len(gram),), RIDGE * count)
    ridge[-1] = 1e-6
    factor = torch.linalg.cholesky(gram + torch.diag(ridge))
    return [torch.cholesky_solve(sums, factor) for sums in told]
