"""What a reader of positions learns from: made texts, each batch behind another shadow bottom or the public one.

States are learnt from as they cross: at the wire's precision.

Shapes: N positions, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ....system.backbone import Backbone, Tokens, load_backbone
from ....system.codec import through
from ....system.public import Public
from ...attack import Prepared
from ...workbench import Workbench
from ..made_texts import MadeTexts
from ..resuming import moments, restored
from ..states import form_of
from .position_reader import READER, Reader, new_reader, stored_reader
from .shadow_bottoms import Drifted, recipe_of, shadow_states

RATE = 1e-3
WARM = 30
"""Steps in which the rate rises; it falls to zero afterwards."""
FITTED = 128
"""Made texts of every shadow whose states tell how states vary."""
KEPT = 50
"""Steps between two checkpoints."""
SHADOW = "shadow/"
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Lessons:
    """How many bottoms are trained, and how long a reader learns from them."""

    shadows: int
    steps: int
    batch: int


def learnt_reader(public: Public, lessons: Lessons, generator: torch.Generator, bench: Workbench) -> Prepared:
    """The reader; goes on from what was kept last."""
    assert public.backbone is not None
    backbone, kept = load_backbone(public.backbone), bench.kept(generator)
    named = kept or _trained(backbone, public, lessons.shadows, generator)
    study = Study(backbone, public, _shadows(named))
    reader = stored_reader(backbone, named) if kept else new_reader(backbone, study.varied(generator), generator)
    optimizer = torch.optim.AdamW([p for p in reader.parameters() if p.requires_grad], weight_decay=0.01)
    shadows = {name: tensor for name, tensor in named.items() if name.startswith(SHADOW)}
    for step in range(restored(optimizer, kept) if kept else 0, lessons.steps):
        optimizer.param_groups[0]["lr"] = RATE * min((step + 1) / WARM, 1 - step / lessons.steps)
        optimizer.zero_grad()
        study.loss(reader, lessons.batch, generator).backward()
        optimizer.step()
        if (step + 1) % KEPT == 0:
            bench.keep({**shadows, **_named(reader), **moments(optimizer, step + 1)}, generator)
        bench.progress(step + 1, lessons.steps)
    return _named(reader)


class Study:
    """Made texts, and their states behind shadow bottoms."""

    def __init__(self, backbone: Backbone, public: Public, shadows: list[State]) -> None:
        self._backbone, self._texts, self._shadows = backbone, MadeTexts(backbone, public), shadows
        recipe, self._precision = recipe_of(public.facts), form_of(public.facts).precision
        self._drifted = Drifted(backbone, recipe, recipe.rank, torch.Generator().manual_seed(0))
        self._tail = backbone.token_ids(public.facts["prompt"])

    def varied(self, generator: torch.Generator) -> torch.Tensor:
        """States (N, d) of all positions of some texts behind the public bottom and every shadow."""
        found = []
        for state in (None, *self._shadows):
            states, tokens = self._states(state, FITTED, generator)
            found.append(states[tokens.mask.bool()])
        return torch.cat(found)

    def loss(self, reader: Reader, count: int, generator: torch.Generator) -> torch.Tensor:
        """Of new texts, behind a shadow or the public bottom."""
        drawn = int(torch.randint(len(self._shadows) + 1, (), generator=generator))
        return reader.loss(*self._states((*self._shadows, None)[drawn], count, generator))

    @torch.no_grad()
    def _states(self, state: State | None, count: int, generator: torch.Generator) -> tuple[torch.Tensor, Tokens]:
        self._drifted.take(state)
        made = self._texts.draw(count, generator)
        tokens = self._backbone.pad([[*self._backbone.prefix, *one, *self._tail] for one in made])
        return through(self._drifted.bottom(tokens), self._precision), tokens


def _trained(backbone: Backbone, public: Public, count: int, generator: torch.Generator) -> State:
    """What so many bottoms have learnt after each of their passes, by number."""
    states = [state for _ in range(count) for state in shadow_states(backbone, public, generator)]
    return {f"{SHADOW}{i}/{name}": tensor for i, state in enumerate(states) for name, tensor in state.items()}


def _shadows(named: Mapping[str, torch.Tensor]) -> list[State]:
    found: dict[str, State] = {}
    for name, tensor in named.items():
        if name.startswith(SHADOW):
            number, _, own = name.removeprefix(SHADOW).partition("/")
            found.setdefault(number, {})[own] = tensor
    return list(found.values())


def _named(reader: Reader) -> State:
    return {READER + name: tensor.detach().clone() for name, tensor in reader.state_dict().items()}
