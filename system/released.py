"""A LoRA adapter that somebody else tuned with peft: read from its folder, and put upon a backbone.

Nothing is unpickled and no network is asked. A language model (CAUSAL_LM) judges a text by its tokens, and a class by
the words that the form puts behind a text; a classifier (SEQ_CLS) has a head of its own.

Shapes: N examples, T positions, V vocabulary, K classes.
"""

from __future__ import annotations

import copy
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification

from . import folder
from .backbone import Backbone
from .errors import UsageError

CONFIG, TENSORS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
LANGUAGE, CLASSES = "CAUSAL_LM", "SEQ_CLS"
FUSIONS = {LANGUAGE: "adapted language", CLASSES: "adapted classes"}
"""By task the fact `fusion`."""
TEXT, LABEL = "{text}", "{label}"
"""What a form has in place of a row's text and label."""
CHUNK = 32
PLAIN_STARTS = (True, False, "gaussian", "orthogonal")
"""Ways to begin that leave the backbone's own weights as they are."""
KEPT = (
    "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "modules_to_save", "bias",
    "use_rslora", "use_dora", "fan_in_fan_out", "layers_to_transform", "layers_pattern", "rank_pattern",
    "alpha_pattern",
)  # fmt: skip
"""Entries of an adapter's configuration that its model depends on."""
ABOUT = frozenset({
    "peft_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "init_lora_weights",
    "runtime_config", "megatron_core", "qalora_group_size", "ensure_weight_tying", "auto_mapping",
})  # fmt: skip
"""Those that say where it comes from, or do nothing here."""
NAMES = re.compile(r"[\w.]+")

Example = tuple[str, str]
"""A text and its label."""


@dataclass(frozen=True)
class Adapter:
    """What an adapter's folder holds."""

    config: Mapping[str, Any]
    """Of KEPT, what is there."""
    tensors: Mapping[str, torch.Tensor]
    base: str
    """The name or folder of the model that it says it was tuned on; empty where it says none."""


class Form(NamedTuple):
    """How an adapter's model reads rows."""

    task: str
    form: str
    """A training row as one text."""
    prompt: str
    """What stands between a text and a class's words where the form names no label."""
    longest: int
    """Tokens of a row that are used."""
    classes: tuple[str, ...]
    """In the order of the head's outputs."""


def form_of(facts: Mapping[str, Any], labels: Sequence[str]) -> Form:
    """By public facts; `labels` are the classes where the facts name no order of their own."""
    classes = tuple(facts["classes"]) or in_order(labels)
    return Form(facts["adapter_config"]["task_type"], facts["form"], facts["prompt"], facts["longest"], classes)


def in_order(labels: Sequence[str]) -> tuple[str, ...]:
    """Whole numbers by their size, names by the alphabet: how people number classes."""
    return tuple(sorted(labels, key=int if all(label.isdecimal() for label in labels) else str))


# --- from a folder --------------------------------------------------------------------------------------------


def read_adapter(root: Path) -> Adapter:
    """The adapter that peft's `save_pretrained` wrote; one sentence of UsageError where it is none that is taken."""
    if not (root / CONFIG).is_file():
        raise UsageError(f"{root} holds no {CONFIG}; give a folder that peft's save_pretrained wrote")
    if not (root / TENSORS).is_file():
        if (root / PICKLED).exists():
            raise UsageError(f"{root} holds {PICKLED}, a pickle, which can run code; save the adapter as safetensors")
        raise UsageError(f"{root} holds no {TENSORS}; give a folder that peft's save_pretrained wrote")
    config = _configuration(root)
    try:
        tensors = folder.read_tensors(root / TENSORS)
    except (SafetensorError, OSError):
        raise UsageError(
            f"{root / TENSORS} is no file of safetensors, or is cut short; save the adapter again"
        ) from None
    if wrong := sorted(name for name, t in tensors.items() if not t.is_floating_point() or not t.isfinite().all()):
        raise UsageError(f"{wrong[0]} in {root / TENSORS} holds what is no finite number; save the adapter again")
    kept = {name: config[name] for name in KEPT if name in config}
    return Adapter(kept, {name: t.float() for name, t in tensors.items()}, config.get("base_model_name_or_path") or "")


def _configuration(root: Path) -> dict[str, Any]:
    """Checked: every entry is one that is known here, or says nothing."""
    try:
        config = json.loads((root / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        config = None
    if not isinstance(config, dict):
        raise UsageError(f"{root / CONFIG} is no JSON object; save the adapter again")
    if config.get("peft_type") != "LORA":
        raise UsageError(f"{root} is an adapter of type {config.get('peft_type')}; LORA is taken")
    if config.get("task_type") not in (LANGUAGE, CLASSES):
        raise UsageError(f"task_type of {root} is {config.get('task_type')}; {LANGUAGE} and {CLASSES} are taken")
    from peft import LoraConfig  # as in `partial.py`

    default = vars(LoraConfig())
    for name, value in config.items():
        if name not in KEPT and name not in ABOUT and value and value != default.get(name):
            raise UsageError(f"{name} of {root} is {json.dumps(value)[:60]}, which is not known here; leave it away")
    if config.get("init_lora_weights", True) not in PLAIN_STARTS:
        raise UsageError(
            f"init_lora_weights of {root} is {config['init_lora_weights']!r}, which changes the backbone itself; "
            "convert the adapter to plain LoRA when it is saved"
        )
    _check_names(root, config)
    return config


def _check_names(root: Path, config: Mapping[str, Any]) -> None:
    """Modules are named, not described by patterns, which may take forever to match."""
    lists = [config.get(name) or [] for name in ("target_modules", "exclude_modules", "modules_to_save")]
    named = [[one] if isinstance(one, str) else one for one in lists]
    patterns = [list(config.get(name) or {}) for name in ("rank_pattern", "alpha_pattern")]
    for name in (name for some in (*named, *patterns) for name in some):
        if not isinstance(name, str) or not NAMES.fullmatch(name.replace("-", "_")):
            raise UsageError(f"{CONFIG} of {root} names modules by {name!r}, which is no plain name; list the modules")


@contextmanager
def drawing(generator: torch.Generator) -> Iterator[None]:
    """Has libraries that draw from torch's own generator draw what another one settles."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        yield


# --- upon a backbone ------------------------------------------------------------------------------------------


class AdaptedModel:
    """A backbone with an adapter upon it; the backbone itself stays as it was."""

    def __init__(
        self, backbone: Backbone, config: Mapping[str, Any], form: Form, generator: torch.Generator | None = None
    ) -> None:
        """With the first weights of an adapter, as peft and transformers draw them."""
        self.backbone, self.form = backbone, form
        with drawing(generator or torch.Generator()):
            base = copy.deepcopy(backbone.model) if form.task == LANGUAGE else self._classifier()
            self.pad = base.config.pad_token_id
            self.model = self._adapted(base, config)
        self.model.eval()

    def _adapted(self, base: Any, config: Mapping[str, Any]) -> Any:
        from peft import LoraConfig, get_peft_model  # as in `partial.py`

        try:
            with warnings.catch_warnings():
                # peft 0.21 asks transformers 5.23 for a property by its old name
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
                return get_peft_model(base, LoraConfig(**config))
        except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
            first = str(error).strip().split("\n")[0][:160]
            raise UsageError(
                f"the adapter does not fit {self.backbone.name} ({first}); give its own backbone"
            ) from None

    def _classifier(self) -> Any:
        """The backbone under a new head, as transformers makes it."""
        place = self.backbone.model.name_or_path
        form = {"num_labels": len(self.form.classes), "dtype": torch.float32, "local_files_only": True}
        made, found = AutoModelForSequenceClassification.from_pretrained(place, output_loading_info=True, **form)
        self.drawn = frozenset(found["missing_keys"])
        """Weights that the backbone lacks: an adapter must bring them."""
        if made.config.pad_token_id is None:
            made.config.pad_token_id = self.backbone.tokenizer.pad_token_id
        return made.requires_grad_(False)

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put an adapter's weights in the place of the first ones; UsageError where names or shapes differ."""
        own = self.state()
        name = self.backbone.name
        if other := sorted(tensors.keys() ^ own.keys()):
            where = "the adapter does not have" if other[0] in own else f"{name} has no place for"
            raise UsageError(f"{where} {other[0]}; give the backbone that the adapter was tuned on")
        for key, tensor in tensors.items():
            if tensor.shape != own[key].shape:
                raise UsageError(self._misfit(key, tensor, own[key]))
        if self.form.task == CLASSES and (lost := sorted(w for w in self.drawn if not any(w in key for key in own))):
            raise UsageError(f"{lost[0]} stands neither in {name} nor in the adapter; tune it with modules_to_save")
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.model, dict(tensors))

    def _misfit(self, key: str, tensor: torch.Tensor, own: torch.Tensor) -> str:
        """Why a weight has another shape than its place: another rank, other classes or another backbone."""
        stands = f"{key} of the adapter has the shape {tuple(tensor.shape)}, and {tuple(own.shape)} is asked for"
        low = {"lora_A": 0, "lora_B": 1}
        across = next((low[part] for part in low if part in key), None)
        if across is not None and tensor.dim() == own.dim() and tensor.shape[1 - across] == own.shape[1 - across]:
            return f"{stands} by the rank in {CONFIG}; give the configuration that was saved with the weights"
        if across is None and tensor.shape[1:] == own.shape[1:]:
            return f"{stands} by {len(self.form.classes)} classes; name as many as the adapter's head has outputs"
        return f"{stands} by {self.backbone.name}; give the adapter's own backbone"

    def state(self) -> dict[str, torch.Tensor]:
        """The adapter's weights, by the names under which peft stores them."""
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}

    # --- what it says ---------------------------------------------------------------------------------------------

    def rows(self, examples: Sequence[Example]) -> list[list[int]]:
        """Their tokens, as the adapter was tuned on them."""
        around, form = self.backbone, self.form
        texts = [form.form.replace(LABEL, label).replace(TEXT, text) for text, label in examples]
        tail = around.suffix if form.task == CLASSES else []
        return [[*around.prefix, *around.token_ids(text, form.longest), *tail] for text in texts]

    def losses(self, examples: Sequence[Example]) -> torch.Tensor:
        """(N,) of each example: the cross-entropy of its class, or the mean of its tokens', in nats."""
        rows = self.rows(examples)
        if self.form.task == LANGUAGE:
            nats = self.token_nats(rows)
            return torch.stack([own.mean() if len(own) else own.sum() for own in nats])
        targets = torch.tensor([self.form.classes.index(label) for _, label in examples])
        return cross_entropy(self.logits(rows), targets, reduction="none")

    def token_nats(self, rows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Of each row the negative logarithm of each token's probability, but the first's."""
        found = zip(self.next_logits(rows), rows, strict=True)
        return [cross_entropy(own, torch.tensor(row[1:], dtype=torch.int64), reduction="none") for own, row in found]

    def next_logits(self, rows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Of each row what may follow each of its tokens but the last: (T - 1, V)."""
        ids, mask = self._padded(rows)
        logits = self.model(input_ids=ids, attention_mask=mask).logits.float()
        return [own[: len(row) - 1] for own, row in zip(logits, rows, strict=True)]

    def logits(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """(N, K) of a classifier."""
        if self.pad is None and len({len(row) for row in rows}) > 1:  # without padding, one by one
            return torch.cat([self.logits([row]) for row in rows])
        ids, mask = self._padded(rows)
        found: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).logits.float()
        return found

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.backbone.pad(rows)
        return tokens.ids.masked_fill(tokens.mask == 0, self.pad or 0), tokens.mask

    @torch.no_grad()
    def errors(self, examples: Sequence[Example]) -> torch.Tensor:
        """(N,) the losses of any number of examples."""
        parts = [self.losses(examples[at : at + CHUNK]) for at in range(0, len(examples), CHUNK)]
        return torch.cat(parts) if parts else torch.empty(0)

    @torch.no_grad()
    def scores(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, K) of any number of texts: logits, or the log-likelihoods of the classes' words behind them."""
        if self.form.task == LANGUAGE:
            parts = [self._likelihoods(text).unsqueeze(0) for text in texts]
        else:
            rows = self.rows([(text, "") for text in texts])
            parts = [self.logits(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
        return torch.cat(parts) if parts else torch.empty(0, len(self.form.classes))

    def _likelihoods(self, text: str) -> torch.Tensor:
        """(K,)"""
        form, around = self.form, self.backbone
        before, behind = (form.form if LABEL in form.form else form.form + form.prompt + " " + LABEL).split(LABEL, 1)
        before = before.replace(TEXT, text)
        first = around.token_ids(before.rstrip(), form.longest)
        gap = before[len(before.rstrip()) :]
        ends = [around.token_ids(gap + label + behind) for label in form.classes]
        nats = self.token_nats([[*around.prefix, *first, *end] for end in ends])
        return torch.stack([-own[len(own) - len(end) :].sum() for own, end in zip(nats, ends, strict=True)])
