"""Partitions of points into groups, from the points alone.

Sources: Ward (JASA 1963); random swaps of centres, Franti (Journal of Big Data 2018, section 2); simplified silhouette,
Hruschka, de Castro and Campello (ICDM 2004).

Shapes: N points, D values or F features of each, C groups.
"""

from __future__ import annotations

import torch
from sklearn.cluster import AgglomerativeClustering

FITTED = 2500
"""Points that Ward's method takes: its memory grows with their square."""
NEIGHBOURS = 6
SWAPS = 50


def whitened(features: torch.Tensor) -> torch.Tensor:
    """Features (N, F) turned and scaled to mean 0 and covariance 1, without directions that do not vary."""
    centred = (features - features.mean(0)).double()
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    kept = sizes > 1e-5 * sizes.max().clamp_min(1e-30)
    white: torch.Tensor = left[:, kept] * len(features) ** 0.5
    return white.float()


def grouped(points: torch.Tensor, groups: int) -> torch.Tensor:
    """Points (N, D) in at most so many groups by Ward's method, (N,) int64; of many points a part, then the nearest."""
    points = spanned(points, groups)
    step = max(1, -(-len(points) // FITTED))
    part = points[::step]
    if len(part) < 2 or groups < 2:
        return torch.zeros(len(points), dtype=torch.int64)
    made = AgglomerativeClustering(min(groups, len(part)), linkage="ward").fit_predict(part.double().numpy())
    numbers = torch.from_numpy(made).long()
    return numbers if step == 1 else nearest(points, means(part, numbers, int(numbers.max()) + 1))


def swapped(points: torch.Tensor, groups: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Groups (N,) of points (N, D), improved by taking away a centre that costs little and adding one far from others.

    Each swap is followed by two rounds of nearest centres and kept where less is left.
    """
    points = spanned(points, int(groups.max()) + 1)
    centres = means(points, groups, int(groups.max()) + 1)
    apart = torch.cdist(points, centres).square()
    for _ in range(SWAPS if len(centres) > 1 else 0):
        close = apart.topk(2, largest=False).values
        cost = torch.zeros(len(centres)).index_add(0, apart.argmin(1), close[:, 1] - close[:, 0])
        out = cost.argsort()[int(torch.randint(1 + len(centres) // 8, (), generator=generator))]
        into = torch.multinomial(close[:, 0] + 1e-12, 1, generator=generator)
        tried = centres.clone()
        tried[out] = points[into]
        for _ in range(2):
            tried = means(points, nearest(points, tried), len(tried))
        after = torch.cdist(points, tried).square()
        if after.min(1).values.sum() < close[:, 0].sum():
            centres, apart = tried, after
    return apart.argmin(1)


def spanned(points: torch.Tensor, groups: int) -> torch.Tensor:
    """Points (N, D) in the directions that the centres of so many groups can span: those of most variance."""
    if points.shape[1] < groups:
        return points
    centred = (points - points.mean(0)).double()
    _, directions = torch.linalg.eigh(centred.T @ centred)
    reduced: torch.Tensor = centred @ directions[:, -max(1, groups - 1) :]
    return reduced.float()


def means(points: torch.Tensor, groups: torch.Tensor, count: int) -> torch.Tensor:
    """(C, D) mean of each group's points; zero where it has none."""
    sums = torch.zeros(count, points.shape[1]).index_add(0, groups, points)
    return sums / torch.bincount(groups, minlength=count).clamp_min(1).unsqueeze(1)


def nearest(points: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """(N,) index of the nearest centre."""
    return torch.cdist(points, centres).argmin(1)


def separation(points: torch.Tensor, groups: torch.Tensor, spent: float = 0.0) -> float:
    """Mean simplified silhouette (Hruschka et al. 2004): 1 where groups are points apart, about 0 in noise.

    For each point 1 - a/b, where a is the distance to its own centre and b that to the nearest other; -1 for one group.
    `spent` is the share of degrees of freedom that the points lost to a fit of the groups, which draws them together.
    """
    numbers, dense = groups.unique(return_inverse=True)
    if len(numbers) < 2:
        return -1.0
    apart = torch.cdist(points, means(points, dense, len(numbers)))
    own = apart.gather(1, dense.unsqueeze(1)).squeeze(1) / max(1 - spent, 0.01) ** 0.5
    other = apart.scatter(1, dense.unsqueeze(1), float("inf")).min(1).values
    return float(((other - own) / torch.maximum(own, other).clamp_min(1e-12)).mean())


def squares(values: torch.Tensor) -> torch.Tensor:
    """(P,) squared length of each row."""
    return values.square().sum(1)


def main_directions(points: torch.Tensor, count: int) -> torch.Tensor:
    """Points (N, F) in their directions of most variance, at most so many, at a mean squared distance of 1."""
    centred = (points - points.mean(0)) / points.std(0, correction=0).clamp_min(
        1e-6 * float(points.abs().max()) + 1e-12
    )
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    return spread_out(left[:, :count] * sizes[:count])


def spread_out(points: torch.Tensor) -> torch.Tensor:
    """Points (N, F) around 0, at a mean squared distance of 1."""
    centred = points - points.mean(0)
    return centred / centred.square().sum(1).mean().sqrt().clamp_min(1e-12)


def discriminated(points: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(N, K) log-likelihoods of classes up to a constant a row, by a linear discriminant of rows whose label is not -1.

    The covariance within classes leans on that of all rows as if it were F more rows, so that one row a class will do;
    a class without a row is never likely.
    """
    given = labels >= 0
    averages = means(points[given], labels[given], classes)
    centred = points - points.mean(0)
    inside = points[given] - averages[labels[given]]
    width = points.shape[1]
    free = max(int(given.sum()) - len(labels[given].unique()), 0)
    covariance = (inside.T @ inside + width * centred.T @ centred / len(points)) / (free + width)
    covariance = covariance + (0.01 * covariance.trace() / width + 1e-12) * torch.eye(width)
    weight = torch.linalg.solve(covariance.double(), averages.T.double()).float()
    scores = points @ weight - 0.5 * (averages.T * weight).sum(0)
    empty = torch.bincount(labels[given], minlength=classes) == 0
    likely: torch.Tensor = scores.masked_fill(empty, -torch.inf)
    return likely


def neighbours(points: torch.Tensor, count: int = NEIGHBOURS) -> torch.Tensor:
    """(P, 2) every row with its `count` nearest others."""
    apart = torch.cdist(points, points).fill_diagonal_(float("inf"))
    near = apart.topk(min(count, len(points) - 1), largest=False).indices
    return torch.stack([torch.arange(len(points)).repeat_interleave(near.shape[1]), near.flatten()], dim=1)


def alike(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(P, 2) pairs of rows with the same label, each row with a few more of its label; -1 is no label."""
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels[order].sort(stable=True).indices]
    order = order[labels[order] >= 0]
    steps = range(1, min(NEIGHBOURS + 1, max(len(order), 1)))
    pairs = torch.cat([torch.empty(0, 2).long(), *(torch.stack([order[:-s], order[s:]], dim=1) for s in steps)])
    return pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]
