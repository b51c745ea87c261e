"""The inverters of SplitLLM and VFLAIR-LLM, as their repositories have them, each in a process of its own.

    python -m sidelight.benchmarks.attacks.inverting_peers < order.json > answer.json

Of GitHub's StupidTrees/SplitLLM the SIP inverter (a GRU over states, `sfl/model/attacker/sip/inversion_models.py`) and
its loss are run with the settings of its `args.py`: Adam at 1e-3 with a decay of 1e-5, batches of 6, 20 epochs. Its own
training loop belongs to its simulator; the loop here does the same steps. Of GitHub's FLAIR-THU/VFLAIR-LLM the class
`VanillaModelInversion_WhiteBox` runs whole, with the settings of its configurations (Adam at 1e-3, 400 steps a text),
between stand-ins for the two parties that it asks for states.

Both import at once what other parts of them need (plots, rouge, a download by nltk); where such a module is named in
INERT, an empty one stands in for it, which no attack here calls. Nothing of theirs is changed.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import json
import os
import random
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ...system.errors import SidelightError, UsageError

INERT = frozenset(
    "bitsandbytes loguru matplotlib nltk PIL pynvml requests rouge rouge_score torchvision trl wandb".split()
)
SPLITLLM, VFLAIR = "SplitLLM, SIP with a GRU", "VFLAIR-LLM, VanillaModelInversion_WhiteBox"
MARKS: Mapping[str, str] = {
    SPLITLLM: "sfl/model/attacker/sip/inversion_models.py",
    VFLAIR: "src/evaluates/attacks/VanillaModelInversion_WhiteBox.py",
}
"""A file by which each one's folder is known."""
GITHUB: Mapping[str, str] = {SPLITLLM: "StupidTrees/SplitLLM", VFLAIR: "FLAIR-THU/VFLAIR-LLM"}
NEEDED = ("GPT2Config", "PreTrainedModel", "StoppingCriteria")
"""Of transformers, by the peers."""
RATE, DECAY, BATCH, EPOCHS = 1e-3, 1e-5, 6, 20
STEPS = 400
LOSSES = ("cross_entropy", "mse")
"""The first is VFLAIR-LLM's own choice where its configuration names none."""


@dataclass(frozen=True)
class Order:
    """What a peer is to do."""

    peer: str
    folder: str
    model: str
    """A model's folder."""
    layer: int
    """Blocks below the states that it is given."""
    auxiliary: Sequence[Sequence[int]]
    """Texts to learn from, as token ids."""
    victims: Sequence[Sequence[int]]
    texts: Sequence[str]
    """The victims' texts, for a peer that tokenizes them itself."""


@dataclass(frozen=True)
class Look:
    """What a peer had found when it was looked at."""

    how: str
    seconds: float
    """Of the processor, one thread, from the start."""
    found: float
    """Share of the victims' tokens."""


def ask(order: Order) -> list[Look]:
    """Run a peer; raises UsageError where its folder is another, SidelightError where it fails."""
    if not (Path(order.folder) / MARKS[order.peer]).is_file():
        known = f"{order.folder} holds no {MARKS[order.peer]}"
        raise UsageError(f"{known}; give the folder of a copy of GitHub's {GITHUB[order.peer]}")
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__]
    done = subprocess.run(command, input=json.dumps(asdict(order)), capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise SidelightError(f"the peer {order.peer} failed: {last[0]}")
    return [Look(**look) for look in json.loads(done.stdout)]


class Empty(types.ModuleType):
    """A module of names that do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        nothing: dict[str, Callable[..., None]] = {
            "__init__": lambda self, *_, **__: None,
            "__call__": lambda self, *_, **__: None,
        }
        return type(name, (), nothing)


class Emptied(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty module for every name below INERT."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in INERT:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []


# --- in the peer's process ---------------------------------------------------------------------------------------


def serve(order: Order) -> list[Look]:
    """Carry out an order in this process."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(order.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(order.model)
    for needed in NEEDED:  # loaded before what they themselves look for, and could do without, is empty
        getattr(transformers, needed)
    sys.meta_path.insert(0, Emptied())
    return list({SPLITLLM: split_llm, VFLAIR: vflair}[order.peer](order, model, tokenizer))


def split_llm(order: Order, model: Any, tokenizer: Any) -> Iterator[Look]:
    """Looked at after every epoch."""
    import torch

    sys.path.insert(0, order.folder)
    from sfl.model.attacker.sip.inversion_models import get_inverter_with_config  # type: ignore[import-not-found]
    from sfl.utils.model import calc_unshift_loss  # type: ignore[import-not-found]

    pad, generator = tokenizer.pad_token_id, random.Random(0)
    made, settings = get_inverter_with_config("gru")
    inverter = made(settings, model.config)
    optimizer = torch.optim.Adam(inverter.parameters(), lr=RATE, weight_decay=DECAY)
    spent = 0.0
    for epoch in range(1, EPOCHS + 1):
        began = time.process_time()
        inverter.train()
        shuffled = generator.sample(list(order.auxiliary), len(order.auxiliary))
        for rows in batched(shuffled):
            ids, mask = padded(rows, pad)
            optimizer.zero_grad()
            logits = inverter(states(model, ids, mask, order.layer))
            calc_unshift_loss(logits, ids.masked_fill(mask == 0, -100)).backward()
            optimizer.step()
        spent += time.process_time() - began
        began = time.process_time()
        inverter.eval()
        right = total = 0
        with torch.no_grad():
            for row in order.victims:
                ids, mask = padded([row], pad)
                right += int((inverter(states(model, ids, mask, order.layer)).argmax(2) == ids).sum())
                total += len(row)
        yield Look(f"{epoch} epochs", spent + time.process_time() - began, right / total)


def vflair(order: Order, model: Any, tokenizer: Any) -> Iterator[Look]:
    """With each of its losses."""
    import torch

    sys.path.insert(0, str(Path(order.folder) / "src"))
    os.chdir(Path(order.folder) / "src")
    from evaluates.attacks import VanillaModelInversion_WhiteBox as peer  # type: ignore[import-not-found]

    local = Head(model, order.layer)
    for loss in LOSSES:
        settings = {
            "party": [1], "lr": RATE, "epochs": STEPS, "batch_size": 1, "attack_sample_num": len(order.texts),
            "target_data": "test", "loss_type": loss,
        }  # fmt: skip
        args = SimpleNamespace(
            attack_name=VFLAIR, attack_configs=settings, task_type="SequenceClassification", device="cpu",
            num_classes=2, k=2, batch_size=1, current_seed=0, model_architect="CLS", dataset="messages",
            exp_res_path=os.devnull, tokenizer=tokenizer, padding="do_not_pad", padding_type="outside",
            truncation=True, max_length=512, add_special_tokens=True, model_type="OPT",
            model_embedded_dim=model.config.hidden_size,
        )  # fmt: skip
        began = time.process_time()
        attack = peer.VanillaModelInversion_WhiteBox(Parties(local, order.texts), args)
        with torch.enable_grad():
            _, recall, _ = attack.attack()
        yield Look(f"loss {loss}", time.process_time() - began, float(recall))


class Head:
    """A device's part of a split model, as VFLAIR-LLM calls it."""

    device = "cpu"

    def __init__(self, model: Any, layer: int) -> None:
        self._model, self._layer = model, layer

    def __call__(self, inputs_embeds: Any, attention_mask: Any, **_: Any) -> dict[str, Any]:
        found = self._model(inputs_embeds=inputs_embeds, attention_mask=attention_mask, output_hidden_states=True)
        return {"inputs_embeds": found.hidden_states[self._layer], "attention_mask": attention_mask}

    def get_input_embeddings(self) -> Any:
        return self._model.get_input_embeddings()

    def eval(self) -> None:
        """It always is."""

    def _clear_past_key_values(self) -> None:
        """It keeps none."""


class Parties:
    """What VFLAIR-LLM's attack asks of a finished run: the data, and the states that were sent of them."""

    def __init__(self, head: Head, texts: Sequence[str]) -> None:
        self.parties = [SimpleNamespace(local_model=head, obtain_local_data=self._obtain)]
        self.final_state = {"test_data": [list(texts)], "test_label": [[0] * len(texts)]}
        self._head = head

    def _obtain(self, data: Any) -> None:
        self._data = data

    def pred_transmit(self) -> Any:
        import torch

        ids = self._data["input_ids"]
        with torch.no_grad():
            embedded = self._head.get_input_embeddings()(ids)
            found = self._head(embedded, self._data["attention_mask"])
        return Sent(found)

    def set_is_first_forward_epoch(self, _: int) -> None:
        """There is but one."""

    def _clear_past_key_values(self) -> None:
        """Nothing is kept."""


class Sent(dict[str, Any]):
    """States with their mask, by key and by name."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]


def states(model: Any, ids: Any, mask: Any, layer: int) -> Any:
    """Of all positions (B, T, d), after so many blocks."""
    import torch

    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[layer]


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    """Ids and mask (B, T)."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])


def batched(rows: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
    for at in range(0, len(rows), BATCH):
        yield rows[at : at + BATCH]


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        answer = [asdict(look) for look in serve(Order(**json.load(sys.stdin)))]
    print(json.dumps(answer))
