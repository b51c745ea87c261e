"""Names for clusters of samples: from known labels, from auxiliary texts, or from the class names alone.

Every source speaks in nats: how much likelier a class makes what is seen of a cluster.

Shapes: N samples, C clusters, L layers that crossed, d width, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import normalize

from ....system.backbone import load_backbone
from ....system.errors import UsageError
from ....system.heads import scores, verbaliser
from ....system.public import Public
from ..states import auxiliary_states, class_name_states, features, readable
from .probing import probabilities

WRONG = 0.01
"""How often a row lies in a cluster of another class, as far as known labels are weighed."""
VOICES = 3
"""A cluster's rows count as this many independent ones at most: their errors depend on each other."""
SURENESS = 10.0
"""Nats between a cosine of 0 and one of 1."""
VERBALISER = 0.1
"""Cosine that one standard deviation of the verbaliser's scores is worth."""
SPREAD = 0.3
"""How much a class's share among the samples differs from its prior, as a ratio."""


def name_clusters(clusters: torch.Tensor, public: Public, ids: tuple[str, ...], states: torch.Tensor) -> torch.Tensor:
    """A label (N,) for each sample of clusters (N,) numbered from 0, one-to-one where there are K of them.

    Known labels speak loudest; auxiliary texts or, without any, the class names come next; the clusters' sizes add what
    priors say. States (N, L, d) are as `states.crossed_states` gives them; behind secret maps they say nothing of a
    name. Clusters may be fewer or more than classes.
    """
    if not len(clusters):
        return clusters.clone()
    evidence = known_evidence(clusters, public, ids) + size_evidence(clusters, public)
    if readable(public):
        evidence += text_evidence(clusters, public, states)
    return named_by(evidence)[clusters]


def named_by(evidence: torch.Tensor) -> torch.Tensor:
    """A class (C,) for each cluster by evidence (C, K): the likeliest one-to-one map, as far as it goes.

    With more clusters than classes, the best matching takes K of them, and each of the others its best class.
    """
    gains = (evidence - evidence.max(1, keepdim=True).values).nan_to_num(0.0, 0.0, -1e6)
    named = gains.argmax(1)
    rows, columns = linear_sum_assignment(gains.double().numpy(), maximize=True)
    named[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return named


# --- what speaks for a name -----------------------------------------------------------------------------------


def known_evidence(clusters: torch.Tensor, public: Public, ids: tuple[str, ...]) -> torch.Tensor:
    """(C, K): log-likelihood of the labels that the adversary knows of rows in each cluster."""
    count, classes = _count(clusters), len(public.labels)
    where = dict(zip(ids, clusters.tolist(), strict=True))
    evidence = torch.zeros(count, classes)
    step = torch.tensor((1 - WRONG) / (WRONG / max(classes - 1, 1))).log()
    for known in public.known:
        if known.id in where:
            evidence[where[known.id], public.labels.index(known.label)] += step
    return evidence


def size_evidence(clusters: torch.Tensor, public: Public, each: int = 1) -> torch.Tensor:
    """(C, K): log-likelihood of the clusters' shares under the class priors, of which so many clusters make one class.

    Where nobody knows priors, no class is likelier than another.
    """
    shares = torch.bincount(clusters).float() / max(len(clusters), 1)
    prior = class_priors(public).clamp(min=1e-6) / each
    variance = prior * (1 - prior) / max(len(clusters), 1) + (SPREAD * prior) ** 2
    difference = shares.unsqueeze(1) - prior
    return -0.5 * difference**2 / variance - 0.5 * variance.log()


def class_priors(public: Public) -> torch.Tensor:
    """(K,) as the adversary knows them, else from auxiliary rows, else uniform."""
    if public.priors:
        return torch.tensor(public.priors)
    counts = Counter(example.label for example in public.auxiliary)
    found = torch.tensor([counts[label] + 0.5 for label in public.labels])
    return found / found.sum()


def text_evidence(clusters: torch.Tensor, public: Public, states: torch.Tensor) -> torch.Tensor:
    """(C, K): what the clusters' states say of each class, read with auxiliary texts or the class names."""
    if len({example.label for example in public.auxiliary}) > 1:
        trained, labels = auxiliary_states(public, torch.Generator().manual_seed(0))
        given = probabilities(trained, labels, states, len(public.labels)).clamp(min=1e-3).log()
        return mean_rows(given, clusters) * torch.bincount(clusters).clamp(max=VOICES).unsqueeze(1)
    likeness = name_likeness(clusters, features(states), features(class_name_states(public)))
    said = verbalised(states, public)
    if said is not None:
        likeness += VERBALISER * standardised(mean_rows(said, clusters))
    return SURENESS * likeness


def name_likeness(clusters: torch.Tensor, rows: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    """(C, K): cosine of cluster centres of rows (N, F) and class names (K, F), whitened by the spread in clusters.

    Texts and names lie apart, so that each side is centred: only how they differ among themselves can be compared.
    """
    spread = rows.std(0, correction=0)
    spread = torch.where(spread > 0, spread, torch.inf)
    scaled = (rows - rows.mean(0)) / spread
    centres = mean_rows(scaled, clusters)
    whiten = whitener(scaled - centres[clusters])
    return normalize(whiten(centres)) @ normalize(whiten((names - names.mean(0)) / spread)).T


def whitener(residuals: torch.Tensor, shrinkage: float = 0.5) -> Callable[[torch.Tensor], torch.Tensor]:
    """A map of rows (X, F) that makes the shrunk covariance of residuals (N, F) the identity."""
    covariance = residuals.T @ residuals / len(residuals)
    target = (covariance.trace() / len(covariance)).clamp(min=1e-12)
    factor = torch.linalg.cholesky((1 - shrinkage) * covariance + shrinkage * target * torch.eye(len(covariance)))
    return lambda rows: torch.linalg.solve_triangular(factor, rows.T, upper=False).T


def verbalised(states: torch.Tensor, public: Public) -> torch.Tensor | None:
    """(N, K): the backbone's own scores of the class names, each class brought to zero mean and unit spread.

    None where the last states that the device has do not cross, or the backbone's output matrix does not read them.
    """
    assert public.backbone is not None
    backbone, layers = load_backbone(public.backbone), public.facts["layers"]
    if layers[-1] != public.facts.get("depth", len(backbone.blocks)):
        return None
    # where all positions cross, states hold their mean and then the last one
    place = len(layers) - 1 if public.facts["selector"] == "mean" else -1
    try:
        head = verbaliser(backbone, public.labels)
    except UsageError:
        return None
    with torch.no_grad():
        return standardised(scores(head, backbone, states[:, place]).nan_to_num(0.0, 0.0, 0.0))


def standardised(rows: torch.Tensor) -> torch.Tensor:
    """Each column with zero mean and unit spread; a constant column is 0."""
    return (rows - rows.mean(0)) / rows.std(0, correction=0).clamp(min=1e-9)


def _count(clusters: torch.Tensor) -> int:
    return int(clusters.max()) + 1 if len(clusters) else 0


def mean_rows(rows: torch.Tensor, clusters: torch.Tensor) -> torch.Tensor:
    """Each cluster's mean row: (N, X) to (C, X)."""
    sums = torch.zeros(_count(clusters), rows.shape[1]).index_add(0, clusters, rows)
    return sums / torch.bincount(clusters).clamp(min=1).unsqueeze(1)
