"""What language modelling sends of samples: positions end to end, which a cache keeps padded to one length.

Shapes: B samples, P positions of all of them, T positions of the longest that is agreed on, L layers, d width, k
entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ..cache import Cache
from ..codec import Precision
from ..errors import ProtocolError
from ..message import Message, Party
from ..roles import SERVER
from ..sparse_difference import Sparse

ACTIVATIONS, DIFFERENCE, INDICES, LENGTHS = "activations", "difference", "indices", "lengths"
"""Kinds of a cache's rows, the first two also of messages: a difference is there once its values are."""


class Positions(NamedTuple):
    """Samples with their positions end to end."""

    lengths: torch.Tensor
    """(B,) int64"""
    activations: torch.Tensor
    """(P, L, d)"""
    sent: Sparse


def messages(ids: tuple[str, ...], rows: Positions, sender: Party, precision: Precision) -> tuple[Message, Message]:
    """The activations and the difference; places cross as 32-bit integers, in two bytes where all fit."""
    states = {"lengths": rows.lengths, ACTIVATIONS: rows.activations}
    entries = {"lengths": rows.lengths, "indices": rows.sent.indices.int(), "values": rows.sent.values}
    return (
        Message(ACTIVATIONS, sender, SERVER, sample_ids=ids, tensors=states, precision=precision),
        Message(DIFFERENCE, sender, SERVER, sample_ids=ids, tensors=entries, precision=precision),
    )


class Sizes(NamedTuple):
    """What is agreed on."""

    positions: int
    """T"""
    layers: int
    width: int
    entries: int
    vocabulary: int


def keep_activations(cache: Cache, message: Message, sizes: Sizes) -> None:
    """Put a message's activations; ProtocolError where they are not as agreed on."""
    states = message.tensor(ACTIVATIONS, None, sizes.layers, sizes.width)
    lengths = _lengths(message, states, sizes)
    cache.put(LENGTHS, message.sample_ids, lengths)
    cache.put(ACTIVATIONS, message.sample_ids, _padded(states, lengths, sizes), message.precision)


def keep_difference(cache: Cache, message: Message, sizes: Sizes) -> None:
    """Put a message's sparse differences; ProtocolError where they are not as agreed on."""
    values, places = message.tensor("values", None, sizes.entries), message.tensor("indices", None, sizes.entries)
    if places.is_floating_point() or len(places) != len(values):
        raise ProtocolError(f"the indices of {message.sender} are not {len(values)} rows of whole numbers")
    if not _rise(places, sizes.vocabulary):
        raise ProtocolError(f"a row of indices of {message.sender} is not of rising places below {sizes.vocabulary}")
    lengths = _lengths(message, values, sizes)
    cache.put(LENGTHS, message.sample_ids, lengths)
    # as floating-point numbers, which hold places up to 2^24 exactly
    cache.put(INDICES, message.sample_ids, _padded(places.float(), lengths, sizes))
    cache.put(DIFFERENCE, message.sample_ids, _padded(values, lengths, sizes), message.precision)


def _rise(places: torch.Tensor, vocabulary: int) -> bool:
    inside = bool(((places >= 0) & (places < vocabulary)).all())
    return inside and bool((places.diff(dim=1) > 0).all())


def _lengths(message: Message, tensor: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """Each sample's positions (B,) of rows (P, ...); ProtocolError where they do not fit."""
    lengths = message.tensor(LENGTHS, None)
    whole = not lengths.is_floating_point() and len(lengths) == len(message.sample_ids) > 0
    if not whole or int(lengths.min()) < 1 or int(lengths.sum()) != len(tensor):
        raise ProtocolError(f"the lengths of {message.sender} do not share {len(tensor)} positions among its samples")
    if int(lengths.max()) > sizes.positions:
        raise ProtocolError(f"a sample of {message.sender} has more than the {sizes.positions} positions agreed on")
    if not tensor.is_floating_point():
        raise ProtocolError(f"{message.kind} came as whole numbers; send floating-point ones")
    return lengths


def _padded(packed: torch.Tensor, lengths: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """(P, ...) as (B, T, ...), with zeros behind each sample's own."""
    padded = packed.new_zeros(len(lengths), sizes.positions, *packed.shape[1:])
    padded[_own(lengths, sizes.positions)] = packed
    return padded


def _own(lengths: torch.Tensor, positions: int) -> torch.Tensor:
    return torch.arange(positions) < lengths.unsqueeze(1)


def kept_rows(cache: Cache, ids: Sequence[str]) -> Positions:
    """Samples in the order of `ids`; raises Absent."""
    lengths = cache.rows(LENGTHS, ids)
    states, places, values = (cache.rows(kind, ids) for kind in (ACTIVATIONS, INDICES, DIFFERENCE))
    own = _own(lengths, states.shape[1])
    return Positions(lengths, states[own], Sparse(places[own].long(), values[own]))


def put_rows(cache: Cache, ids: Sequence[str], rows: Positions, precision: Precision, sizes: Sizes) -> None:
    """Keep samples that are not there."""
    cache.put(LENGTHS, ids, rows.lengths)
    cache.put(ACTIVATIONS, ids, _padded(rows.activations, rows.lengths, sizes), precision)
    cache.put(INDICES, ids, _padded(rows.sent.indices.float(), rows.lengths, sizes))
    cache.put(DIFFERENCE, ids, _padded(rows.sent.values, rows.lengths, sizes), precision)
