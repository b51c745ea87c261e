"""Weights of few bits: what they are rounded to, what they take, and what becomes of the states."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from sidelight.system.backbone import Backbone, load_backbone
from sidelight.system.data import Sample
from sidelight.system.errors import UsageError
from sidelight.system.fusion import pivot_activations
from sidelight.system.protocols import PROTOCOLS, Scene
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE
from sidelight.system.rounding import rounded
from sidelight.system.weights import WEIGHTS, Packed, Weights, pack_maps

from ..contracts.families import FAMILIES, save_family
from ..contracts.micro import LABELS, VICTIM, record

OWN: tuple[Sample, ...] = VICTIM[:6]
TEXTS = [sample.text for sample in OWN]
LARGEST: dict[Weights, int] = {"int8": 127, "int4": 7}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("weights")
    return {family: str(save_family(family, root / family)) for family in FAMILIES}


def pivots(backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        return pivot_activations(backbone, TEXTS, 48, " topic:", "mean")


def by_hand(matrix: torch.Tensor, largest: int) -> torch.Tensor:
    """Runs of 64 inputs on a grid whose ends are the run's largest value, by a loop."""
    found = torch.zeros_like(matrix, dtype=torch.float64)
    for row in range(matrix.shape[0]):
        for at in range(0, matrix.shape[1], 64):
            run = matrix[row, at : at + 64].double()
            step = float(run.abs().max()) / largest
            found[row, at : at + 64] = (run / step).round() * step if step else 0.0
    return found


@pytest.mark.parametrize("weights", LARGEST)
@pytest.mark.parametrize("shape", [(5, 64), (7, 37), (3, 200), (4, 1)])
def test_a_packed_map_holds_the_nearest_values_of_its_grid(weights: Weights, shape: tuple[int, int]) -> None:
    """Odd widths as well. Scales are float16, rounded up: steps are up to 2^-10 of themselves longer than by hand."""
    drawn = torch.Generator().manual_seed(1)
    matrix, bias = torch.randn(shape, generator=drawn), torch.randn(shape[0], generator=drawn)
    matrix[0] = 0.0
    packed = Packed(matrix, nn.Parameter(bias, requires_grad=False), weights)
    steps = matrix.abs().amax(1, keepdim=True) / LARGEST[weights] * (1 + 2**-10)
    assert ((packed.matrix() - matrix).abs() <= steps / 2 + 1e-7).all()
    expected = by_hand(matrix, LARGEST[weights])
    # half of the step away, rounding may go either way
    near = ((packed.matrix() - expected).abs() <= LARGEST[weights] * 2**-10 * steps + 1e-7).double().mean()
    assert float(near) > (0.95 if weights == "int4" else 0.8)
    states = torch.randn(2, 3, shape[1], generator=drawn)
    torch.testing.assert_close(packed(states), states @ packed.matrix().T + bias)


@pytest.mark.parametrize(("weights", "bits"), [("int8", 8), ("int4", 4)])
def test_a_packed_map_takes_its_bits_and_a_scale_for_64_values(weights: Weights, bits: int) -> None:
    packed = Packed(torch.randn(96, 256), None, weights)
    held = sum(buffer.numel() * buffer.element_size() for buffer in packed.buffers())
    assert held == 96 * 256 * bits // 8 + 96 * 256 // 64 * 2


def test_both_kinds_of_linear_map_are_packed_alike() -> None:
    """GPT-2's holds its matrix the other way round."""
    plain, turned = nn.Linear(10, 6), Conv1D(6, 10)
    turned.weight.data, turned.bias.data = plain.weight.data.T.clone(), plain.bias.data.clone()
    first, second = nn.Sequential(plain), nn.Sequential(turned)
    pack_maps(nn.ModuleList([first, second]), [first, second], "int4")
    states = torch.randn(4, 10)
    assert torch.equal(first(states), second(states))


def sequential_maps(backbone: Backbone) -> int:
    """Packed maps of all blocks: no path through the model has more."""
    return sum(isinstance(module, Packed) for module in backbone.blocks.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_states_of_rounded_weights_are_near_those_of_exact_ones(folders: dict[str, str], family: str) -> None:
    """By the root of the number of maps times one map's relative error, twice.

    A run's step is its largest value over the largest integer; of 64 normal values the largest is about 2.5 standard
    deviations, of 32 or 48 less. Rounding errors are uniform, of step / sqrt(12); those of different maps add in
    squares, and norms between them keep the relative size. bfloat16 keeps 8 bits of every number, in and between maps:
    2^-9 each, of two matrices, a norm and two sums a map.
    """
    exact = pivots(load_backbone(folders[family]))
    for weights, largest in LARGEST.items():
        backbone = load_backbone(folders[family], weights)
        one = 2.5 / largest / math.sqrt(12)
        far = float((pivots(backbone) - exact).norm() / exact.norm())
        assert 0 < far <= 2 * math.sqrt(sequential_maps(backbone)) * one
        maps = sequential_maps(backbone)
    far = float((pivots(load_backbone(folders[family], "bf16")) - exact).norm() / exact.norm())
    assert 0 < far <= 2 * math.sqrt(5 * maps) * 2**-9


@torch.no_grad()
@pytest.mark.parametrize("weights", LARGEST)
@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_model_with_the_rounded_matrices(folders: dict[str, str], family: str, weights: Weights) -> None:
    """The same states as of the exact model with each matrix exchanged, in float32; all else is as it was."""
    packed, plain = load_backbone(folders[family], weights), load_backbone(folders[family])
    maps = {name: m for name, m in packed.blocks.named_modules() if isinstance(m, Packed)}
    assert len(maps) == sum(isinstance(m, nn.Linear | Conv1D) for m in plain.blocks.modules()) >= 4 * len(plain.blocks)
    for name, one in maps.items():
        module = plain.blocks.get_submodule(name)
        assert isinstance(module, nn.Linear | Conv1D)
        module.weight.copy_(one.matrix() if isinstance(module, nn.Linear) else one.matrix().T)
    torch.testing.assert_close(pivots(packed), pivots(plain))
    assert torch.equal(packed.output_matrix(), plain.output_matrix())


def test_what_is_recorded_is_float32_and_the_digest_is_of_the_weights_as_held(folders: dict[str, str]) -> None:
    backbones = [load_backbone(folders["opt"], weights) for weights in WEIGHTS]
    assert len({backbone.digest for backbone in backbones}) == len(WEIGHTS)
    for backbone in backbones:
        found = pivots(backbone)
        assert found.dtype == backbone.final_norm(found).dtype == torch.float32
        assert backbone.activations(backbone.tokens(TEXTS, 5)).dtype == torch.float32
    assert backbones[0].digest == load_backbone(folders["opt"]).digest


@pytest.mark.parametrize("family", ["gpt2", "bert", "llama"])
@pytest.mark.parametrize("weights", ["bf16", "int8", "int4"])
def test_pae_runs_on_a_device_with_such_weights(folders: dict[str, str], family: str, weights: Weights) -> None:
    protocol = PAE(side=SideTraining(bottleneck=4, epochs=2), batch=3)
    scene = Scene(load_backbone(folders[family], weights), LABELS, {DEVICE: OWN}, Streams("a secret seed"))
    assert protocol.public_facts(scene)["weights"] == weights
    assert record(protocol, scene).device.predict(TEXTS).isfinite().all()


@pytest.mark.parametrize("name", ["split", "local"])
def test_what_trains_the_backbone_itself_asks_for_exact_weights(folders: dict[str, str], name: str) -> None:
    backbone = load_backbone(folders["opt"], "int8")
    protocol = PROTOCOLS[name]()
    scene = Scene(backbone, LABELS, protocol.parties(OWN, Streams("a")), Streams("a"))
    with pytest.raises(UsageError, match="is trained here, and its weights are int8; give weights fp32"):
        protocol.roles(scene)
    with pytest.raises(UsageError, match="are int8 already"):
        rounded(backbone, 4)


def test_unknown_weights_are_refused(folders: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="weights 'int3' are none of fp32, bf16, int8, int4"):
        load_backbone(folders["opt"], "int3")  # type: ignore[arg-type]


def test_no_weights_stay_mapped_from_the_file(folders: dict[str, str]) -> None:
    """Each tensor of a packed model has memory of its own, so that the exact matrices are gone."""
    packed = load_backbone(str(Path(folders["llama"])), "int4").model
    for tensor in packed.state_dict().values():
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
