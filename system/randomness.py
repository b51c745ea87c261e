"""Independent streams of randomness from one secret seed.

Data, keys, noise, training and attacks each draw from a stream of their own. A stream's state is a hash of
the seed and the stream's name, so knowing one stream says nothing about another.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import numpy
import torch

WORDS, WORDS_AT = 624, 24
"""The generator's state: how many words it has, and at which byte of torch's layout they begin, eight bytes each."""


@dataclass(frozen=True)
class Streams:
    """The streams of one victim; the seed belongs to the truth."""

    seed: str

    def integer(self, name: str) -> int:
        """A 63-bit integer, the same for the same seed and name."""
        digest = hashlib.sha256(f"{self.seed}\0{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def torch(self, name: str) -> torch.Generator:
        """A torch generator at the start of the named stream."""
        generator = torch.Generator()
        state = generator.get_state().clone()
        words = hashlib.shake_256(f"{self.seed}\0{name}".encode()).digest(WORDS * 4)
        # `manual_seed` keeps 32 bits, which can all be tried: the Mersenne Twister's whole state is filled instead
        filled = numpy.frombuffer(words, "<u4").astype("<u8").view(numpy.uint8)
        state[WORDS_AT : WORDS_AT + len(filled)] = torch.from_numpy(filled.copy())
        generator.set_state(state)
        return generator

    def numpy(self, name: str) -> numpy.random.Generator:
        """A numpy generator at the start of the named stream."""
        digest = hashlib.sha256(f"{self.seed}\0{name}".encode()).digest()
        return numpy.random.default_rng(int.from_bytes(digest, "big"))

    def of(self, name: str) -> Streams:
        """The streams of a part of the run."""
        return Streams(hashlib.sha256(f"{self.seed}\0{name}\0streams".encode()).hexdigest())


def fresh_seed() -> str:
    """A seed that cannot be guessed: 128 random bits."""
    return secrets.token_hex(16)
