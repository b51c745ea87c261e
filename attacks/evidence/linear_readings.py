"""Linear readings of texts from states: how often each token stands in a text, and roughly what stands where.

Least squares of made texts, in closed form: gradient descent needs far longer for the same. Place readings are of
embeddings, scaled so that their products with the output matrix are log-odds of linear discriminant analysis with the
covariance of all embeddings.

Memory: (F + 1) (F + V + K d) values, F at most as many as texts that the features are fitted on.

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
    wide = table - table.mean(0)
    covariance = wide.T @ wide / len(wide)
    goals = torch.linalg.solve(
        covariance + 1e-3 * covariance.trace() / len(covariance) * torch.eye(len(covariance)), wide.T
    ).T
    slots = neighbours(longest + 1).argmax(1)
    gram, bag, places, count = torch.zeros(()), torch.zeros(()), torch.zeros(()), 0
    for texts, features in batches:
        rows = torch.cat([features.clamp(-LARGEST, LARGEST), torch.ones(len(features), 1)], 1)
        said, stood = torch.zeros(len(rows), len(table)), torch.zeros(len(rows), SLOTS, table.shape[1])
        for i, text in enumerate(texts):
            tokens = torch.tensor(text)
            said[i].index_add_(0, tokens, torch.ones(len(text)))
            stood[i].index_add_(0, slots[: len(text)], goals[tokens])
        gram, bag, places = gram + rows.T @ rows, bag + rows.T @ said, places + rows.T @ stood.flatten(1)
        count += len(rows)
    ridge = torch.full((len(gram),), RIDGE * count)
    ridge[-1] = 1e-6
    factor = torch.linalg.cholesky(gram + torch.diag(ridge))
    return {BAG: torch.cholesky_solve(bag, factor), PLACES: torch.cholesky_solve(places, factor)}
