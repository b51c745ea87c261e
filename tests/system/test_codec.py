"""Tensors as bytes: exact sizes, exact bytes by hand, and the most that quantisation may lose."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import torch

from sidelight.system.codec import BLOCK, LARGEST, MOST_BLOCK, PRECISIONS, Packed, Precision, pack, through, unpack
from sidelight.system.errors import ProtocolError

SHAPES = [(1,), (64,), (65,), (3, 130), (2, 5, 7), (4, 1), (2, 3, 64), ()]
QUANTISED: tuple[Precision, ...] = ("int8", "int4", "int2")


def scales_of(packed: Packed) -> list[float]:
    return [value for (value,) in struct.iter_unpack("<e", packed.scales)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sizes_are_exact(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    count = math.prod(shape)
    vectors = math.prod(shape[:-1])
    runs = vectors * math.ceil((shape[-1] if shape else 1) / 64)
    sizes = {p: (len(pack(values, p).data), len(pack(values, p).scales)) for p in PRECISIONS}
    assert sizes == {
        "fp32": (4 * count, 0),
        "fp16": (2 * count, 0),
        "bf16": (2 * count, 0),
        "int8": (count, 2 * runs),
        "int4": (math.ceil(count / 2), 2 * runs),
        "int2": (math.ceil(count / 4), 2 * runs),
    }


def test_full_and_half_precision_are_little_endian_ieee() -> None:
    values = [1.5, -0.1, 3e-5, 60000.0]
    assert pack(torch.tensor(values), "fp32") == Packed(struct.pack("<4f", *values), b"", 0)
    assert pack(torch.tensor(values), "fp16") == Packed(struct.pack("<4e", *values), b"", 0)


def test_eight_bits_by_hand() -> None:
    """The largest value is 127, so the scale is 1; negative integers are two's complement."""
    packed = pack(torch.tensor([127.0, -64.0, 1.2, -0.4]), "int8")
    assert packed == Packed(bytes([127, 256 - 64, 1, 0]), struct.pack("<e", 1.0), 64)


def test_four_bits_by_hand() -> None:
    """Scale 0.5: integers 7, -7, 3, -1, 2; nibbles 7, 9, 3, 15, 2; the first in the low half, the tail zero."""
    packed = pack(torch.tensor([3.5, -3.5, 1.5, -0.5, 1.0]), "int4")
    assert packed == Packed(bytes([0x97, 0xF3, 0x02]), struct.pack("<e", 0.5), 64)
    assert unpack(packed, (5,), "int4").tolist() == [3.5, -3.5, 1.5, -0.5, 1.0]


def test_two_bits_by_hand() -> None:
    """Scale 2: integers 1, -1, 0, 1, -1; pairs of bits 1, 3, 0, 1, 3; the first in the lowest, the tail zero."""
    packed = pack(torch.tensor([2.0, -2.0, 0.9, 1.2, -1.5]), "int2")
    assert packed == Packed(bytes([0b01001101, 0b00000011]), struct.pack("<e", 2.0), 64)
    assert unpack(packed, (5,), "int2").tolist() == [2.0, -2.0, 0.0, 2.0, -2.0]


def test_an_odd_vector_shares_its_last_byte_with_the_next_vector() -> None:
    packed = pack(torch.tensor([[7.0, 1.0, 2.0], [7.0, 3.0, 4.0]]), "int4")
    assert packed.data == bytes([0x17, 0x72, 0x43])


def test_a_scale_serves_one_run_of_one_vector() -> None:
    values = torch.zeros(2, 65)
    values[0, 0], values[0, 64], values[1, 63] = 127.0, 12.7, 1.27
    assert scales_of(pack(values, "int8")) == pytest.approx([1.0, 0.1, 0.01, 0.0], rel=1e-3)


@pytest.mark.parametrize("precision", QUANTISED)
def test_the_error_is_at_most_half_a_step(precision: Precision) -> None:
    """The step is the scale that crosses; for spreads from far below float16's normal range to large ones."""
    generator = torch.Generator().manual_seed(3)
    for spread in (1e-6, 1e-4, 1e-2, 1.0, 300.0):
        for length in (1, 63, 64, 200):
            values = spread * torch.randn(5, length, generator=generator)
            packed = pack(values, precision)
            runs = math.ceil(length / BLOCK)
            step = np.repeat(np.array(scales_of(packed)).reshape(5, runs), BLOCK, axis=1)[:, :length]
            error = np.abs(unpack(packed, (5, length), precision).numpy() - values.numpy())
            assert (error <= step * 0.5001).all()
            assert (step <= np.abs(values.numpy()).max() / LARGEST[precision] * 1.001 + 2**-24).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [*SHAPES, (0, 4), (3, 0)], ids=str)
def test_shapes_and_zeros_survive(precision: Precision, shape: tuple[int, ...]) -> None:
    read = through(torch.zeros(shape), precision)
    assert read.shape == shape
    assert read.dtype == torch.float32
    assert not read.any()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_crossed_once_crosses_again_unchanged(precision: Precision) -> None:
    once = through(torch.randn(4, 100, generator=torch.Generator().manual_seed(5)), precision)
    torch.testing.assert_close(through(once, precision), once, rtol=2e-3, atol=0)


def test_views_gradients_and_other_types_are_packed_by_value() -> None:
    values = torch.arange(6.0).view(2, 3).T.requires_grad_()
    assert pack(values, "fp32").data == struct.pack("<6f", 0, 3, 1, 4, 2, 5)
    assert pack(torch.tensor([1.5], dtype=torch.float64), "fp32").data == struct.pack("<f", 1.5)


@pytest.mark.parametrize(
    ("packed", "precision", "said"),
    [
        (Packed(b"\0" * 7, b"", 0), "fp32", "take 8 bytes, not 7"),
        (Packed(b"\0" * 5, b"", 0), "fp16", "take 4 bytes, not 5"),
        (Packed(b"\0" * 3, b"\0\0", 64), "int8", "take 2 bytes, not 3"),
        (Packed(b"\0" * 2, b"\0\0", 64), "int4", "take 1 bytes, not 2"),
        (Packed(b"\0" * 2, b"\0\0", 64), "int2", "take 1 bytes, not 2"),
        (Packed(b"\0" * 2, b"", 64), "int8", "take 2 bytes of scales, not 0"),
        (Packed(b"\0" * 2, b"\0\0\0", 64), "int8", "take 2 bytes of scales, not 3"),
        (Packed(b"\0" * 2, b"\0\0", 1), "int8", "take 4 bytes of scales, not 2"),
        (Packed(b"\0" * 2, b"\0\0", 0), "int8", "block of 1 to 65536 values, not of 0"),
    ],
)
def test_bytes_that_do_not_fill_the_shape_are_refused(packed: Packed, precision: Precision, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        unpack(packed, (2,), precision)


def test_another_block_size_is_read_as_it_is_named() -> None:
    packed = Packed(bytes([1, 2, 3]), struct.pack("<2e", 1.0, 10.0), 2)
    assert unpack(packed, (3,), "int8").tolist() == [1.0, 2.0, 30.0]


def test_a_huge_block_size_spreads_no_more_than_a_vector() -> None:
    """Spread out whole, the thousand scales would take 262 MB."""
    packed = Packed(bytes([4, 5]) * 1000, struct.pack("<e", 2.0) * 1000, MOST_BLOCK)
    assert unpack(packed, (1000, 2), "int8").tolist() == [[8.0, 10.0]] * 1000
    with pytest.raises(ProtocolError, match="not of 65537"):
        unpack(packed._replace(block=MOST_BLOCK + 1), (1000, 2), "int8")
