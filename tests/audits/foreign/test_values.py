"""Arrays as foreign systems have them: the same numbers in memory of their own, and the precision that they say."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch

from sidelight.audits.foreign.values import check_rows, copied, ids_of, precision_of
from sidelight.system.errors import UnknownName, UsageError

GRID = [[1.5, -2.0, 0.25], [3.0, 0.0, -0.5]]
"""Numbers that every floating-point type holds exactly."""


def arrays() -> list[Any]:
    grid = torch.tensor(GRID)
    wide = torch.zeros(2, 6)
    wide[:, ::2] = grid
    with torch.inference_mode():
        inferred = grid.clone()
    return [
        pytest.param(grid, "fp32", 24, id="float32"),
        pytest.param(grid.double(), "fp32", 48, id="float64"),
        pytest.param(grid.half(), "fp16", 12, id="float16"),
        pytest.param(grid.bfloat16(), "bf16", 12, id="bfloat16"),
        pytest.param(grid.clone().requires_grad_() * 1, "fp32", 24, id="gradient"),
        pytest.param(torch.nn.Parameter(grid.bfloat16()), "bf16", 12, id="parameter"),
        pytest.param(wide[:, ::2], "fp32", 24, id="strided"),
        pytest.param(grid.T.contiguous().T, "fp32", 24, id="transposed"),
        pytest.param(inferred, "fp32", 24, id="inference"),
        pytest.param(torch.conj(grid), "fp32", 24, id="conj"),
        pytest.param(numpy.array(GRID), "fp32", 48, id="numpy float64"),
        pytest.param(numpy.array(GRID, dtype=numpy.float16), "fp16", 12, id="numpy float16"),
        pytest.param(numpy.array(GRID, dtype=numpy.float32)[::-1][::-1], "fp32", 24, id="numpy turned"),
        pytest.param(numpy.asfortranarray(GRID), "fp32", 48, id="numpy by columns"),
        pytest.param(GRID, "fp32", 48, id="lists"),
        pytest.param(tuple(map(tuple, GRID)), "fp32", 48, id="tuples"),
        pytest.param([grid[0], grid[1]], "fp32", 24, id="list of tensors"),
    ]


@pytest.mark.parametrize(("given", "precision", "size"), arrays())
def test_fractions_are_copied_exactly(given: Any, precision: str, size: int) -> None:
    found = copied({"x": given})
    kept = found.tensors["x"]
    assert (kept.tolist(), kept.dtype, kept.device.type) == (GRID, torch.float32, "cpu")
    assert kept.is_contiguous()
    assert not kept.requires_grad
    assert not kept.is_inference()
    assert (precision_of(found.kinds, None), found.bytes) == (precision, size)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (torch.tensor([3, 0, 1]), 24),
        (torch.tensor([3, 0, 1], dtype=torch.uint8), 3),
        (torch.tensor([3, 0, 1], dtype=torch.uint64), 24),
        (numpy.array([3, 0, 1], dtype=numpy.int16), 6),
        ([3, 0, 1], 24),
    ],
)
def test_whole_numbers_are_copied_exactly(given: Any, size: int) -> None:
    found = copied({"x": given})
    assert (found.tensors["x"].tolist(), found.tensors["x"].dtype, found.bytes) == ([3, 0, 1], torch.int64, size)
    assert precision_of(found.kinds, None) == "fp32"


def test_a_copy_has_memory_of_its_own() -> None:
    tensor, array = torch.zeros(2), numpy.zeros(2)
    found = copied({"tensor": tensor, "array": array})
    tensor += 1
    array += 1
    assert (found.tensors["tensor"].tolist(), found.tensors["array"].tolist()) == ([0.0, 0.0], [0.0, 0.0])


def test_numbers_beyond_int64_are_refused() -> None:
    with pytest.raises(UsageError, match="'x' holds whole numbers of 2\\^63 or more"):
        copied({"x": numpy.array([2**63], dtype=numpy.uint64)})


@pytest.mark.parametrize(
    ("types", "precision"),
    [
        ((torch.float16, torch.float16), "fp16"),
        ((torch.bfloat16,), "bf16"),
        ((torch.float16, torch.bfloat16), "fp32"),
        ((torch.float16, torch.float32), "fp32"),
        ((torch.float64,), "fp32"),
        ((), "fp32"),
    ],
)
def test_the_precision_of_a_message_is_that_of_all_its_tensors(types: tuple[torch.dtype, ...], precision: str) -> None:
    assert precision_of(frozenset(types), None) == precision
    assert precision_of(frozenset(types), "int8") == "int8"


def test_a_precision_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown precision 'int88'; did you mean 'int8'"):
        precision_of(frozenset(), "int88")


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (None, ()),
        ([], ()),
        (["a", "b"], ("a", "b")),
        (range(2), ("0", "1")),
        (torch.tensor([7, 5]), ("7", "5")),
        (numpy.array([7, 5]), ("7", "5")),
        (numpy.array(["x", "y"]), ("x", "y")),
        ([numpy.int32(4), torch.tensor(9)], ("4", "9")),
        ((name for name in ("a", "b")), ("a", "b")),
    ],
)
def test_ids_become_texts(given: Any, ids: tuple[str, ...]) -> None:
    assert ids_of(given) == ids


@pytest.mark.parametrize("given", [[""], [True], [None], [b"a"], [["a"]], torch.tensor([0.5]), torch.tensor(3)])
def test_what_names_no_sample_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="give"):
        ids_of(given)


@pytest.mark.parametrize("given", [torch.ones(2), [1.0], None, {"a/b": [1.0]}, {"": [1.0]}, {1: [1.0]}])
def test_tensors_without_right_names_are_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"by name|without a slash"):
        copied(given)


def test_packed_rows_add_up_to_their_lengths() -> None:
    packed = {"activations": torch.ones(5, 4), "lengths": torch.tensor([2, 3])}
    check_rows(["a", "b"], packed)
    check_rows(["a", "b"], {**packed, "labels": torch.ones(2)})
    with pytest.raises(UsageError, match=r"\(4, 4\) and the message names 2 samples; give 2 or 5 rows$"):
        check_rows(["a", "b"], {**packed, "activations": torch.ones(4, 4)})
    for lengths in ([2], [0, 5], [2.0, 3.0]):
        with pytest.raises(UsageError, match="give 2 whole numbers from 1 up, one a sample"):
            check_rows(["a", "b"], {**packed, "lengths": torch.tensor(lengths)})
