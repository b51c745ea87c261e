"""What language modelling sends of samples: positions end to end, kept in a cache sample by sample.

Shapes: B samples, P positions of all of them, T of one, L layers, d width, k entries.
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

ACTIVATIONS, DIFFERENCE, INDICES = "activations", "difference", "indices"
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


def keep_activations(cache: Cache, message: Message, layers: int, width: int) -> None:
    """Put a message's activations; ProtocolError where they are not as agreed on."""
    states = message.tensor(ACTIVATIONS, None, layers, width)
    parts = _split(message, states)
    _check_lengths(cache, DIFFERENCE, message.sample_ids, parts)
    cache.put(ACTIVATIONS, message.sample_ids, parts, message.precision)


def keep_difference(cache: Cache, message: Message, entries: int, vocabulary: int) -> None:
    """Put a message's sparse differences; ProtocolError where they are not as agreed on."""
    values, places = message.tensor("values", None, entries), message.tensor("indices", None, entries)
    if places.is_floating_point() or len(places) != len(values):
        raise ProtocolError(f"the indices of {message.sender} are not {len(values)} rows of whole numbers")
    if not _rise(places, vocabulary):
        raise ProtocolError(f"a row of indices of {message.sender} is not of rising places below {vocabulary}")
    parts = _split(message, values)
    _check_lengths(cache, ACTIVATIONS, message.sample_ids, parts)
    # as floating-point numbers, which hold places up to 2^24 exactly
    cache.put(INDICES, message.sample_ids, _split(message, places.float()))
    cache.put(DIFFERENCE, message.sample_ids, parts, message.precision)


def _rise(places: torch.Tensor, vocabulary: int) -> bool:
    inside = bool(((places >= 0) & (places < vocabulary)).all())
    return inside and bool((places.diff(dim=1) > 0).all())


def _split(message: Message, tensor: torch.Tensor) -> list[torch.Tensor]:
    """A tensor's rows (P, ...) by sample; ProtocolError where `lengths` does not fit."""
    lengths = message.tensor("lengths", None)
    whole = not lengths.is_floating_point() and len(lengths) == len(message.sample_ids) > 0
    if not whole or int(lengths.min()) < 1 or int(lengths.sum()) != len(tensor):
        raise ProtocolError(f"the lengths of {message.sender} do not share {len(tensor)} positions among its samples")
    if not tensor.is_floating_point():
        raise ProtocolError(f"{message.kind} came as whole numbers; send floating-point ones")
    return list(tensor.split(lengths.tolist()))


def _check_lengths(cache: Cache, other: str, ids: Sequence[str], parts: Sequence[torch.Tensor]) -> None:
    """Raise ProtocolError where what is there of a sample has other positions."""
    absent = set(cache.missing(other, ids))
    for sample_id, part in zip(ids, parts, strict=True):
        if sample_id not in absent and len(cache.rows(other, [sample_id])[0]) != len(part):
            raise ProtocolError(f"{other} of a sample came with another number of positions; send the same of both")


def kept_rows(cache: Cache, ids: Sequence[str]) -> Positions:
    """Samples in the order of `ids`; raises Absent."""
    states, places, values = (
        [cache.rows(kind, [sample_id])[0] for sample_id in ids] for kind in (ACTIVATIONS, INDICES, DIFFERENCE)
    )
    lengths = torch.tensor([len(part) for part in states])
    return Positions(lengths, torch.cat(states), Sparse(torch.cat(places).long(), torch.cat(values)))


def put_rows(cache: Cache, ids: Sequence[str], rows: Positions, precision: Precision) -> None:
    """Keep samples that are not there."""
    sizes = rows.lengths.tolist()
    cache.put(ACTIVATIONS, ids, rows.activations.split(sizes), precision)
    cache.put(INDICES, ids, rows.sent.indices.float().split(sizes))
    cache.put(DIFFERENCE, ids, rows.sent.values.split(sizes), precision)
