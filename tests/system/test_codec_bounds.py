"""What a value may lose at each precision, over all of float32's values: the bounds that the codec states."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sidelight.system.codec import BLOCK, LARGEST, MOST, PRECISIONS, Packed, Precision, pack, unpack
from sidelight.system.errors import UsageError

Values = np.ndarray[Any, np.dtype[np.float32]]
HALVES: tuple[Precision, ...] = ("fp16", "bf16")
QUANTISED: tuple[Precision, ...] = ("int8", "int4", "int2")
SLACK = 1 + 2.0**-22
"""The encoder divides in float32, so that a value a hair from the middle may go to either side."""

bounded = settings(derandomize=True, database=None, deadline=None, max_examples=150)
every = pytest.mark.parametrize("precision", PRECISIONS)


@st.composite
def tensors(draw: st.DrawFn, most: float = float(np.finfo(np.float32).max)) -> Values:
    """Of up to three dimensions, some empty, some across a block's end; of one magnitude or of all."""
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 63, 64, 65, 130]), max_size=2)))
    top = min(most, draw(st.one_of(st.just(most), st.integers(-149, 127).map(lambda e: 2.0**e))))
    top = float(np.float32(top)) if np.float32(top) <= most else float(np.nextafter(np.float32(top), np.float32(0)))
    elements = st.floats(-top, top, width=32)
    return draw(arrays(np.float32, shape, elements=elements, fill=elements))


def read(packed: Packed, shape: tuple[int, ...], precision: Precision) -> np.ndarray:
    return unpack(packed, shape, precision).numpy()


def packed_of(values: Values, precision: Precision) -> Packed:
    return pack(torch.from_numpy(values.copy()), precision)


def blocks(values: np.ndarray) -> np.ndarray:
    """Values as runs that share a scale (N, runs, BLOCK), filled up with zeros, in double precision."""
    last = values.shape[-1] if values.ndim else 1
    rows = values.astype(np.float64).reshape(values.size // last, last)
    return np.pad(rows, ((0, 0), (0, -last % BLOCK))).reshape(len(rows), -1, BLOCK)


@given(tensors())
@bounded
def test_full_precision_loses_nothing_not_even_the_sign_of_zero(values: Values) -> None:
    assert read(packed_of(values, "fp32"), values.shape, "fp32").tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("precision", "relative", "least"), [("fp16", 2.0**-11, 2.0**-25), ("bf16", 2.0**-8, 2.0**-134)]
)
def test_halves_lose_half_a_unit_in_the_last_place(precision: Precision, relative: float, least: float) -> None:
    @given(tensors(MOST[precision]))
    @bounded
    def holds(values: Values) -> None:
        got = read(packed_of(values, precision), values.shape, precision).astype(np.float64)
        exact = values.astype(np.float64)
        assert (np.abs(got - exact) <= np.maximum(np.abs(exact) * relative, least)).all()
        assert (np.signbit(got) == np.signbit(exact)).all()

    holds()


@given(tensors(MOST["bf16"]))
@bounded
def test_bf16_is_the_upper_half_of_float32_rounded_to_the_nearest(values: Values) -> None:
    """By whole numbers: half of the lower sixteen bits is added, less one where the upper ones are even."""
    bits = values.view(np.uint32).astype(np.uint64)
    expected = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    assert np.array_equal(np.frombuffer(packed_of(values, "bf16").data, "<u2"), expected.ravel())


def test_ties_go_to_the_even_neighbour() -> None:
    """Halfway between 1 and 1 + 2^-7, and between that and 1 + 2^-6; for fp16 with 2^-10."""
    for precision, unit in (("bf16", 2.0**-7), ("fp16", 2.0**-10)):
        sent = torch.tensor([1 + unit / 2, 1 + 3 * unit / 2, -1 - unit / 2])
        packed = pack(sent, precision)  # type: ignore[arg-type]
        assert unpack(packed, (3,), precision).tolist() == [1, 1 + 2 * unit, -1]  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", QUANTISED)
def test_integers_lose_half_a_step_and_steps_are_as_small_as_float16_allows(precision: Precision) -> None:
    @given(tensors(MOST[precision]))
    @bounded
    def holds(values: Values) -> None:
        assume(values.size)
        packed = packed_of(values, precision)
        exact = blocks(values)
        step = np.frombuffer(packed.scales, "<f2").astype(np.float64).reshape(exact.shape[:2])
        wanted = np.abs(exact).max(2) / LARGEST[precision]
        assert (step <= wanted * (1 + 2.0**-10) * SLACK + 2.0**-24).all()
        error = np.abs(blocks(read(packed, values.shape, precision)) - exact)
        assert (error <= step[:, :, None] / 2 * SLACK + 2.0**-25).all()

    holds()


@every
def test_what_was_read_is_packed_to_the_same_bytes(precision: Precision) -> None:
    @given(tensors(MOST.get(precision, float(np.finfo(np.float32).max))))
    @bounded
    def holds(values: Values) -> None:
        packed = packed_of(values, precision)
        assert pack(unpack(packed, values.shape, precision), precision) == packed

    holds()


@pytest.mark.parametrize("precision", QUANTISED)
def test_so_it_is_for_every_scale_below_the_smallest_normal_one(precision: Precision) -> None:
    """Steps of 2^-24: five thousand largest values, from a quarter of the smallest step to beyond subnormal scales."""
    top = LARGEST[precision] * 2.0**-24 * torch.linspace(0.25, 1100, 5001).unsqueeze(1)
    values = top * torch.tensor([1.0, -0.3])
    packed = pack(values, precision)
    assert pack(unpack(packed, (5001, 2), precision), precision) == packed


@every
def test_zeros_cross_as_zeros_whatever_their_sign(precision: Precision) -> None:
    values = torch.tensor([0.0, -0.0] * 50)
    packed = pack(values, precision)
    assert torch.equal(unpack(packed, (100,), precision), values)
    assert not any(packed.scales)


@pytest.mark.parametrize(
    ("precision", "last", "first"),
    [
        # halfway to 65536, and halfway to 2^128: the tie would go to the even neighbour, which there is not
        ("fp16", float(np.nextafter(np.float32(65520), np.float32(0))), 65520.0),
        ("bf16", float(np.nextafter(np.float32(2.0**128 - 2.0**119), np.float32(0))), 2.0**128 - 2.0**119),
        ("int8", 127 * 65504.0, 127 * 65505.0),
        ("int4", 7 * 65504.0, 7 * 65505.0),
        ("int2", 65504.0, 65505.0),
    ],
)
def test_a_number_beyond_the_range_is_refused_and_the_last_within_crosses(
    precision: Precision, last: float, first: float
) -> None:
    for sign in (1, -1):
        assert unpack(pack(torch.tensor([sign * last, 1.0]), precision), (2,), precision)[0] == sign * MOST[precision]
        with pytest.raises(UsageError, match=f"^{precision} holds numbers up to "):
            pack(torch.tensor([0.0, sign * first]), precision)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("beside", [math.nan, math.inf, -math.inf])
def test_a_number_too_large_is_refused_beside_what_is_none(precision: Precision, beside: float) -> None:
    largest = float(np.finfo(np.float32).max)
    for values in ([beside, largest], [-largest, beside]):
        with pytest.raises(UsageError, match="holds numbers up to"):
            pack(torch.tensor(values), precision)


@every
def test_infinities_and_nan_cross_as_they_are_or_not_at_all(precision: Precision) -> None:
    for value in (math.inf, -math.inf, math.nan):
        values = torch.tensor([1.0, value])
        if precision in QUANTISED:
            with pytest.raises(UsageError, match="holds numbers up to"):
                pack(values, precision)
        else:
            assert torch.equal(unpack(pack(values, precision), (2,), precision).nan_to_num(7), values.nan_to_num(7))
