"""Operations counted by hand."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from sidelight.benchmarks.operations import counter


def test_attention_is_two_products_forwards_and_five_backwards() -> None:
    query, key, value = (torch.randn(2, 3, 16, 8, requires_grad=True) for _ in range(3))
    product = 2 * 2 * 3 * 16 * 16 * 8  # multiply and add, of every text, head, query, key and entry
    with counter() as forwards:
        found = scaled_dot_product_attention(query, key, value, is_causal=True)
    with counter() as backwards:
        found.sum().backward()
    assert forwards.get_total_flops() == 2 * product
    assert backwards.get_total_flops() == 5 * product  # scores anew; of values, weights, queries and keys


def test_a_linear_map_is_one_product_forwards_and_two_backwards() -> None:
    inputs, weight = torch.randn(5, 7, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    with counter() as counted:
        (inputs @ weight).sum().backward()
    assert counted.get_total_flops() == 3 * 2 * 5 * 7 * 4
