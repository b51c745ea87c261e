"""In which order samples are trained on: a function of a device's seed, the epoch and the samples' ids, and of nothing
that happens meanwhile, so that a run that was broken off goes on as if it had not been.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def ordered(seed: str, epoch: int, ids: Iterable[str]) -> list[str]:
    """Sample ids by a keyed digest (BLAKE2b, RFC 7693) of epoch and id."""
    key = hashlib.blake2b(seed.encode()).digest()
    begun = hashlib.blake2b(epoch.to_bytes(8, "big"), key=key, digest_size=16)

    def place(sample_id: str) -> bytes:
        digest = begun.copy()
        digest.update(sample_id.encode())
        return digest.digest()

    return sorted(ids, key=place)
