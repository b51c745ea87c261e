"""Text from one position's state after the first block: its attention is a sum over the text's tokens.

Before the first block nothing depends on a token's neighbours, so that every token at every place has a known weight w
and value v in each head. The block is inverted at the pivot, which gives the attention's output o; then
sum of w (v - o) over the text's tokens is zero in all heads at once: a linear system in token indicators, one token a
place. It is solved by search, with the backbone's own language model (attacks/evidence/rewriting.py).

Threat model: a server that knows the backbone and the prompt, and receives the pivot's states; it knows neither text nor
length. Without a prompt the pivot's own token is not known, and the attack does not apply.
Source: ours; relatives are the span check of DAGER (arXiv 2405.15586) and SipIt (arXiv 2510.15511).

Shapes: N samples, n tokens of a text, V vocabulary, H heads, D width of a head, d width, M reference texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.codec import Precision, through
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.first_attention import FirstAttention
from ..evidence.language import Language
from ..evidence.reference import lengths_of, read_lengths, reference_texts
from ..evidence.rewriting import Effort, Fit, Rewritten, rewritten
from ..workbench import Workbench

FLOOR = 1e-4
"""Share of the mean variance below which a direction of the state tells nothing: what linearising leaves behind."""
APART = 300.0
"""Squared distance that one wrong token makes on average."""
ENOUGH = 1.0
"""Squared distance at which a text counts as found."""
GROUP = 16
"""Samples that are inverted together."""


@dataclass(frozen=True)
class Unmix(Attack):
    """The first attention at the pivot as a linear system in tokens."""

    name = "unmix"
    source = "ours"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"positions": ("pivot",), "selector": ("last",)}
    studies = Studied(
        frozenset({"backbone", "auxiliary"}), frozenset({"layers", "longest", "positions", "precision", "prompt", "selector"})
    )

    effort: Effort = Effort()

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`lengths`: how a text's length is read off its pivot; `texts` (M, longest): what people may write."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        texts = reference_texts(backbone, public, generator)
        return {"texts": texts, **lengths_of(backbone, public, texts, generator)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """A text for every asked sample."""
        assert public.backbone is not None
        backbone, wanted = load_backbone(public.backbone), frozenset(public.targets)
        found = {s.sample_id: s.activations[-1] for s in view.sequences() if not wanted or s.sample_id in wanted}
        ids, states = tuple(found), torch.stack(list(found.values()))
        lengths = read_lengths(states, prepared["means"], prepared["whitener"])[:, 0]
        first = FirstAttention(public.backbone)
        topics = (backbone.final_norm(states[:, -1]) @ backbone.output_matrix().T).log_softmax(1)
        texts: dict[int, Rewritten] = {}
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero().squeeze(1)
            system = System(first, backbone, public.facts, prepared["texts"][:, :length])
            for part in rows.split(GROUP):
                fits = system.fits(states[part, 0])
                texts |= {
                    row: rewritten(fit, Language(backbone, topics[row]), self.effort, ENOUGH) for row, fit in zip(part.tolist(), fits)
                }
        ordered = [texts[row] for row in range(len(ids))]
        exact = public.facts.get("precision", "fp32") in ("fp32", "fp16")
        sure = tuple(one.distance <= ENOUGH < one.beside for one in ordered) if exact else ()
        return TextGuess(ids, tuple(one.tokens for one in ordered), sure)


class System:
    """The linear system of all texts of one length."""

    def __init__(
        self, first: FirstAttention, backbone: Backbone, facts: Mapping[str, Any], reference: torch.Tensor
    ) -> None:
        opening, tail = backbone.prefix, backbone.token_ids(facts["prompt"])
        count = reference.shape[1]
        self._first, self._precision = first, cast(Precision, facts.get("precision", "fp32"))
        self._token, self._place = tail[-1], len(opening) + count + len(tail) - 1
        around = [*enumerate(opening), *enumerate(tail, len(opening) + count)]
        heads = first.heads(*(torch.tensor([part]) for part in zip(*((t, p) for p, t in around))))
        query = heads.queries[0, :, -1]
        scores = torch.einsum("hd,hnd->hn", query, heads.keys[0])
        top = scores.amax(1)
        weights = (scores - top.unsqueeze(1)).exp()
        self._known_weight = weights.sum(1).float()
        self._known_sum = torch.einsum("hn,hnd->hd", weights, heads.values[0]).float()
        listed = [first.vocabulary(place) for place in range(len(opening), len(opening) + count)]
        self._weights = torch.stack([((keys * query).sum(2) - top).exp() for keys, _ in listed]).float()
        self._values = torch.stack([values for _, values in listed]).float()
        self._reference = reference
        self._usual = self.mixed(reference)

    def mixed(self, texts: torch.Tensor) -> torch.Tensor:
        """What the attention puts out at the pivot of texts (B, n): (B, H, D)."""
        places = torch.arange(texts.shape[1])
        weights, values = self._weights[places, texts], self._values[places, texts]
        total = self._known_weight + weights.sum(1)
        return (self._known_sum + (weights.unsqueeze(3) * values).sum(1)) / total.unsqueeze(2)

    def fits(self, states: torch.Tensor) -> list[AttentionFit]:
        """One for each received state (N, d)."""
        start = self._start(states.double())
        inverse = self._first.inverted(self._token, self._place, states, start)
        return [self._fit(*one) for one in zip(states, inverse.mixed.float(), inverse.slope.float())]

    def _start(self, states: torch.Tensor) -> torch.Tensor:
        """A least-squares reading of what was put out (N, H D), by the reference texts."""
        mixed = self._usual.flatten(1).double()
        made = self._first.state(self._token, self._place, mixed)
        middle, wanted = made.mean(0), mixed.mean(0)
        rows = made - middle
        ridge = 1e-4 * rows.square().sum(0).mean() * torch.eye(rows.shape[1], dtype=rows.dtype)
        found: torch.Tensor = wanted + (states - middle) @ torch.linalg.solve(
            rows.T @ rows + ridge, rows.T @ (mixed - wanted)
        )
        return found

    def _fit(self, state: torch.Tensor, mixed: torch.Tensor, slope: torch.Tensor) -> AttentionFit:
        heads, width = self._values.shape[2:]
        spread = (self._usual.flatten(1) - mixed) @ slope.T
        spread = spread - spread.mean(0)
        values, vectors = torch.linalg.eigh(spread.T @ spread / len(spread))
        noise = (through(state, self._precision) - state).square().mean()
        whitener = vectors * (values.clamp(min=0) + FLOOR * values.mean() + noise).rsqrt()
        read = whitener.T @ slope
        places = torch.arange(self._reference.shape[1])
        total = self._known_weight + self._weights[places, self._reference].sum(1).mean(0)
        apart = self._values - mixed.view(heads, width)
        effects = (self._weights.unsqueeze(3) * apart / total.unsqueeze(1)).flatten(2) @ read.T
        usual = effects[places, self._reference]
        scale = (APART / (usual - usual.mean(0)).square().sum(2).mean()).sqrt()
        known = (self._known_sum - self._known_weight.unsqueeze(1) * mixed.view(heads, width)) / total.unsqueeze(1)
        return AttentionFit(read @ known.flatten() * scale, effects * scale, usual.mean(0) * scale)


class AttentionFit(Fit):
    """The linear system: what all tokens add is zero."""

    def __init__(self, known: torch.Tensor, effects: torch.Tensor, usual: torch.Tensor) -> None:
        self.effects, self.usual = effects, usual
        self._known = known

    def residuals(self, texts: torch.Tensor) -> torch.Tensor:
        return -self._known - self.effects[torch.arange(texts.shape[1]), texts].sum(1)
