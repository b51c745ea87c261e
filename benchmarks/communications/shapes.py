"""Sizes of backbones, as published or as a model at hand has them: all that traffic depends on of a model.

Shapes: L blocks, d width, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from ...system.backbone import Backbone
from ...system.partial import Bottom, tuned_state


@dataclass(frozen=True)
class Shape:
    """A backbone's sizes and the names under which its linear maps cross."""

    name: str
    source: str
    blocks: int
    width: int
    vocabulary: int
    prefix: str
    """What stands before a block's number in the names of its weights."""
    maps: Mapping[str, tuple[int, int]]
    """A block's linear maps: how many values each takes and gives."""
    causal: bool = True
    """Whether it predicts the next token: `pae_lm` runs on no other."""

    def updates(self, blocks: int, rank: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of the low-rank factors (rank, in) and (out, rank) of the first blocks."""
        return tuple(
            (f"{self.prefix}.{block}.{name}.lora_{factor}.default.weight", size)
            for block in range(blocks)
            for name, (into, out) in self.maps.items()
            for factor, size in (("A", (rank, into)), ("B", (out, rank)))
        )


def opt(name: str, source: str, blocks: int, width: int, vocabulary: int = 50272) -> Shape:
    """A model of the OPT family: four maps of attention, and two of a layer four times as wide."""
    attention = {f"self_attn.{part}_proj": (width, width) for part in "kvq"}
    wide = {"fc1": (width, 4 * width), "fc2": (4 * width, width)}
    maps = {**attention, "self_attn.out_proj": (width, width), **wide}
    return Shape(name, source, blocks, width, vocabulary, "model.model.decoder.layers", maps)


def llama(name: str, source: str, blocks: int, width: int, keys: int, wide: int, vocabulary: int) -> Shape:
    """A model of the Llama family: `keys` values of keys and of values at a position, a gated layer `wide` wide."""
    attention = {"q_proj": (width, width), "k_proj": (width, keys), "v_proj": (width, keys), "o_proj": (width, width)}
    gated = {"gate_proj": (width, wide), "up_proj": (width, wide), "down_proj": (wide, width)}
    maps = {f"self_attn.{part}": size for part, size in attention.items()}
    maps |= {f"mlp.{part}": size for part, size in gated.items()}
    return Shape(name, source, blocks, width, vocabulary, "model.model.layers", maps)


FACTOR = re.compile(r"(?P<prefix>.+?)\.0\.(?P<map>.+)\.lora_(?P<factor>[AB])\.default\.weight")


def shape_of(backbone: Backbone) -> Shape:
    """Of a model at hand, by its first block; UsageError where its weights are not in float32."""
    factors = tuned_state(Bottom(backbone, 1, 1, torch.Generator()))
    into, out, prefix = dict[str, int](), dict[str, int](), ""
    for name, factor in factors.items():
        found = FACTOR.fullmatch(name)
        assert found is not None
        prefix = found["prefix"]
        if found["factor"] == "A":
            into[found["map"]] = factor.shape[1]
        else:
            out[found["map"]] = factor.shape[0]
    maps = {name: (size, out[name]) for name, size in into.items()}
    blocks, width, vocabulary = len(backbone.blocks), backbone.width, backbone.vocabulary
    return Shape(backbone.name, "at hand", blocks, width, vocabulary, prefix, maps, backbone.causal)


OPT_SOURCE = "arXiv 2205.01068, table 1"
SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        opt("sidelight-tiny", "system/tiny/config.json", 6, 192, 4096),
        opt("OPT-125M", OPT_SOURCE, 12, 768),
        opt("OPT-350M", OPT_SOURCE, 24, 1024),
        opt("OPT-1.3B", OPT_SOURCE, 24, 2048),
        llama("Llama-3.2-1B", "config.json of meta-llama/Llama-3.2-1B", 16, 2048, 512, 8192, 128256),
    )
}


def scaled(shape: Shape, blocks: int, by: int) -> Shape:
    """The same family with fewer blocks and maps that are narrower by a factor."""
    maps = {name: (into // by, out // by) for name, (into, out) in shape.maps.items()}
    return replace(shape, blocks=blocks, width=shape.width // by, maps=maps)
