"""Near-duplicate groups: texts that differ by case, spaces, digits or a few letters only.

Shapes: N rows, U distinct folded texts, G character n-grams.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from .rows import Row

SIMILARITY = 0.85
"""Cosine of TF-IDF weighted character 4-grams from which two texts count as near-duplicates."""

CHUNK = 512


def folded(text: str) -> str:
    """The text without what a near-duplicate may change freely: case, white space and digits."""
    return re.sub(r"\d", "0", " ".join(text.casefold().split()))


def near_duplicate_groups(rows: Sequence[Row], similarity: float = SIMILARITY) -> NDArray[np.intp]:
    """Number the groups of rows that must stay together.

    Rows are linked where their folded texts are equal, where the cosine of their character 4-grams reaches
    `similarity`, or where they carry the same non-empty `group`; a group is a connected component.

    Returns:
        (N,) integers from 0, the group of each row.
    """
    texts: dict[str, int] = {}
    text_of = np.array([texts.setdefault(folded(row.text), len(texts)) for row in rows], dtype=np.intp)
    links = [similar_pairs(list(texts), similarity), shared_group_pairs(rows, text_of)]
    left, right = (np.concatenate(side) for side in zip(*links, strict=True))
    graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(texts), len(texts)))
    component: NDArray[np.intp] = connected_components(graph, directed=False)[1].astype(np.intp)
    return component[text_of]


def shared_group_pairs(rows: Sequence[Row], text_of: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of distinct texts that link every row of a `group` with the group's first row."""
    first: dict[str, int] = {}
    pairs = [
        (first.setdefault(row.group, int(at)), int(at)) for row, at in zip(rows, text_of, strict=True) if row.group
    ]
    array = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def similar_pairs(texts: Sequence[str], similarity: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of all pairs of distinct texts whose cosine reaches `similarity`."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to load: only who deals rows waits

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), lowercase=False, dtype=np.float32)
    grams: csr_matrix = vectorizer.fit_transform(texts)  # (U, G), rows of unit length
    found = list(_chunked_pairs(grams, similarity))
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _chunked_pairs(grams: csr_matrix, similarity: float) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    transposed = grams.T.tocsr()  # (G, U)
    for start in range(0, grams.shape[0], CHUNK):
        products = (grams[start : start + CHUNK] @ transposed).tocoo()  # (CHUNK, U)
        near = products.data >= similarity
        yield products.row[near].astype(np.intp) + start, products.col[near].astype(np.intp)
