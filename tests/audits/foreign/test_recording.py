"""A foreign split-learning system that knows nothing of Sidelight, recorded while it runs, and then attacked."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sidelight.attacks.attack import LabelGuess
from sidelight.audits import single
from sidelight.audits.foreign import Answer, Crossing, Recording
from sidelight.audits.foreign import recording as module
from sidelight.audits.sandbox import guess_files
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.single import attack_one
from sidelight.system.errors import UnknownName, UsageError
from sidelight.system.public import Public
from sidelight.system.truth import TrueText, Truth, load_truth
from sidelight.system.view import ViewWriter, load_view

CLASSES = ("billing", "delivery", "returns")
PUBLIC = Public({"difference": "probability"}, CLASSES)
DIFFERENCE = Crossing("difference", "phone", "server", {"difference": "missing"}, "rows")


class TheirServer:
    """Regresses what the phone misses on what it sent."""

    def __init__(self) -> None:
        self.side = nn.Linear(6, len(CLASSES), dtype=torch.float64)

    def learn(self, rows: list[str], states: torch.Tensor, *, missing: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = (self.side(states) - missing).square().mean()
        loss.backward()
        return loss.detach()


class TheirPhone:
    """Keeps its labels, and sends how far its own prediction is from them."""

    def __init__(self, server: TheirServer) -> None:
        generator = torch.Generator().manual_seed(0)
        self.send = server.learn
        self.states = torch.randn(24, 6, dtype=torch.float64, generator=generator)
        self.labels = torch.randint(len(CLASSES), (24,), generator=generator)
        self.head = torch.randn(6, len(CLASSES), dtype=torch.float64, generator=generator)

    def train(self) -> list[float]:
        losses = []
        for rows in torch.arange(24).split(8):
            guessed = (self.states[rows] @ self.head).softmax(1)
            missing = nn.functional.one_hot(self.labels[rows], len(CLASSES)) - guessed
            losses.append(float(self.send([f"row {i}" for i in rows], self.states[rows], missing=missing)))
        return losses


def one_layer(rows: list[str], states: torch.Tensor, missing: torch.Tensor) -> dict[str, torch.Tensor]:
    """Attacks read (rows, layers, width)."""
    return {"activations": states[:, None]}


def a_run(recorder: Recording | None = None) -> tuple[TheirPhone, list[float]]:
    torch.manual_seed(3)
    server = TheirServer()
    phone = TheirPhone(server)
    if recorder is not None:
        states = Crossing("activations", "phone", "server", one_layer, "rows")
        phone.send = recorder.function(server.learn, DIFFERENCE, states)
    return phone, phone.train()


def attacked(out: Path, name: str, workers: Workers, guesses: Path) -> dict[str, str]:
    """The labels that an attack reads in a recorded folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "Workers", lambda: nullcontext(workers))
        ((line, whole),) = attack_one(out / "view", out / "public", name, guesses)
    assert whole, line
    guess = guess_files.load(Path(json.loads(line)["guess"]))
    assert isinstance(guess, LabelGuess)
    return {i: CLASSES[label] for i, label in zip(guess.ids, guess.labels.tolist(), strict=True)}


def test_a_foreign_system_is_recorded_and_its_labels_are_read(tmp_path: Path, workers: Workers) -> None:
    with Recording(tmp_path / "their" / "run", public=PUBLIC) as recorder:
        phone, losses = a_run(recorder)
    assert losses == a_run()[1]  # the same training, to the last digit
    found = attacked(tmp_path / "their" / "run", "sign", workers, tmp_path / "guesses")
    assert found == {f"row {i}": CLASSES[label] for i, label in enumerate(phone.labels.tolist())}


def test_labels_in_clear_are_read_as_they_are(tmp_path: Path, workers: Workers) -> None:
    labels = torch.tensor([2, 0, 1, 1])
    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        send = recorder.function(lambda x, y: None, Crossing("labels", "phone", "server", {"labels": "y"}, "x"))
        send([5, 6, 7, 8], labels)
    expected = {str(i): CLASSES[label] for i, label in zip(range(5, 9), labels.tolist(), strict=True)}
    assert attacked(tmp_path / "run", "plaintext", workers, tmp_path / "guesses") == expected


def test_messages_and_answers_stand_in_the_view_as_they_crossed(tmp_path: Path) -> None:
    answer = Answer("gradient", lambda result: {"gradient": result})
    crossing = Crossing(
        "activations",
        lambda batch, device: f"device-{device}",
        "server",
        {"activations": "batch"},
        lambda batch, device: range(len(batch)),
        answer,
        round=lambda batch, device: 3,
    )
    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        forward = recorder.function(lambda batch, device: batch * 2, crossing)
        for device in (0, 0, 1):
            forward(torch.full((2, 1, 4), float(device)), device)
    view = load_view(tmp_path / "run" / "view")
    told = [(m.kind, m.sender, m.receiver, m.round, m.step, m.sample_ids) for m in view.messages]
    assert told[:2] == [
        ("activations", "device-0", "server", 3, 0, ("0", "1")),
        ("gradient", "server", "device-0", 3, 0, ("0", "1")),
    ]
    assert [(sender, step) for _, sender, _, _, step, _ in told] == [
        ("device-0", 0), ("server", 0), ("device-0", 1), ("server", 1), ("device-1", 0), ("server", 2)
    ]  # fmt: skip
    assert view.messages[5].tensors["gradient"].equal(torch.full((2, 1, 4), 2.0))
    assert view.facts["difference"] == "probability"


def test_a_call_is_filed_with_what_it_was_made_with(tmp_path: Path) -> None:
    def spoiling(rows: list[str], missing: torch.Tensor) -> torch.Tensor:
        return missing.mul_(0)

    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        given = torch.ones(1, 3)
        assert recorder.function(spoiling, DIFFERENCE)(["a"], given) is given
    assert load_view(tmp_path / "run" / "view").rows("difference", "difference")[1].tolist() == [[1.0] * 3]


def test_truth_and_held_items_are_kept_apart(tmp_path: Path) -> None:
    row = TrueText("a", "a text", "billing", (1,), (False,), ())
    with Recording(tmp_path / "run", public=PUBLIC, truth=Truth((row,), (), torch.zeros(0, 3))) as recorder:
        recorder.function(sending, DIFFERENCE)(["a"], torch.ones(1, 3))
        recorder.hold("tuned", {"weight": torch.eye(2, requires_grad=True)})
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"view", "public", "truth", "run.json"}
    assert load_truth(tmp_path / "run" / "truth").rows == (row,)
    assert load_view(tmp_path / "run" / "view").held["tuned"]["weight"].equal(torch.eye(2))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").rglob("*")} == {0o700, 0o600}


def sending(rows: Any, missing: Any) -> None:
    """A foreign function."""


def traffic(out: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return about


def test_the_traffic_tells_messages_and_bytes_by_kind_and_direction(tmp_path: Path) -> None:
    states = Crossing("features", "phone", "server", {"features": "missing"}, "rows", precision="int4")
    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        send = recorder.function(sending, DIFFERENCE, states)
        send(["a", "b"], torch.ones(2, 3, dtype=torch.float64))
        send(["c"], torch.ones(1, 3, dtype=torch.float16))
    both = {"sender": "phone", "receiver": "server", "messages": 2, "measured": "tensors"}
    assert traffic(tmp_path / "run")["traffic"] == [
        {"kind": "difference", "bytes": 2 * 3 * 8 + 3 * 2, **both},
        # three nibbles in two bytes, six in three, and a scale of two bytes for each row of up to 64
        {"kind": "features", "bytes": (3 + 2 * 2) + (2 + 2), **both},
    ]


# --- what the recorded system must not notice -------------------------------------------------------------------------


class TheirError(Exception):
    """Of the system that is recorded."""


def test_an_exception_of_the_function_passes_and_what_it_raised_at_is_not_filed(tmp_path: Path) -> None:
    raised = TheirError("not now")

    def failing(rows: list[str], missing: torch.Tensor) -> None:
        if rows == ["b"]:
            raise raised

    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        send = recorder.function(failing, DIFFERENCE)
        send(["a"], torch.ones(1, 3))
        with pytest.raises(TheirError) as caught:
            send(["b"], torch.ones(1, 3))
    assert caught.value is raised
    assert load_view(tmp_path / "run" / "view").sample_ids() == ("a",)
    assert (traffic(tmp_path / "run")["failed_calls"], traffic(tmp_path / "run")["unfinished_calls"]) == (1, 0)


@pytest.mark.parametrize("error", [TheirError("in the middle"), KeyboardInterrupt(), StopIteration(1)])
def test_a_block_left_by_an_exception_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            recorder.function(sending, DIFFERENCE)(["a"], torch.ones(1, 3))
            raise error

    with pytest.raises(type(error)) as caught:
        block()
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def nonsense() -> Iterator[Any]:
    ones, ids = torch.ones(2, 3), ["a", "b"]
    yield pytest.param(["a"], ones, r"'difference' has the shape \(2, 3\) and the message names 1 samples", id="rows")
    yield pytest.param("ab", ones, "the ids came as str; give one text or whole number for each", id="text for ids")
    yield pytest.param(["a", "a"], ones, "an id stands twice among the 2", id="twice")
    yield pytest.param([0.5, 1.5], ones, "an id is a float; give a text", id="fractions")
    yield pytest.param(7, ones, "the ids came as int", id="number")
    yield pytest.param(ids, [[1.0], [1.0, 2.0]], "'difference' came as list that is no array", id="ragged")
    yield pytest.param(ids, ["x", "y"], "'difference' came as list of type <U1; give an array of numbers", id="texts")
    yield pytest.param(ids, None, "'difference' came as NoneType of type object", id="nothing")
    yield pytest.param(ids, ones.to_sparse(), "'difference' is complex, sparse or quantised", id="sparse")
    yield pytest.param(ids, ones + 1j, "'difference' is complex, sparse or quantised", id="complex")
    yield pytest.param(ids, torch.tensor(1.0), r"has the shape \(\)", id="no rows")
    yield pytest.param(ids, ones.double() * 1e300, "'difference' holds what is no finite number", id="beyond float32")
    yield pytest.param(ids, ones[:, 0], r"'difference' has the shape \(2,\); give \(N, K\)", id="an axis less")
    yield pytest.param(ids, ones.reshape(2, *[1] * 7, 3), "'difference' has 9 dimensions; give at most 8", id="axes")
    yield pytest.param(ids, ones[:, :2], r"row of 'difference' has the shape \(2,\), and \(3,\) before", id="narrower")
    yield pytest.param(["a" * 129, "b"], ones, "an id has 129 characters; give at most 128", id="long id")
    yield pytest.param(
        ids, ones.to(torch.float8_e4m3fn), "no precision stands for torch.float8_e4m3fn; say", id="float8"
    )


@pytest.mark.parametrize(("ids", "values", "said"), list(nonsense()))
def test_nonsense_is_told_at_once_and_at_the_end_and_the_system_goes_on(
    ids: Any, values: Any, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            send = recorder.function(lambda rows, missing: calls.append(rows), DIFFERENCE)
            send(["x"], torch.ones(1, 3))
            send(ids, values)
            assert len(caplog.records) == 1
            send(ids, values)

    with caplog.at_level(logging.ERROR), pytest.raises(UsageError, match=said):
        block()
    assert len(calls) == 3
    assert "the recording stops, and what it records goes on: " in caplog.text
    assert len(caplog.records) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("states", "my states", "'my states' is no name of a tensor; give letters, digits .* at most 128"),
        ("my states", "states", "the kind of a message is no name; give letters, digits .* at most 64"),
        ("k" * 65, "states", "the kind of a message is no name"),
    ],
)
def test_names_that_no_view_may_hold_are_refused_at_the_call(kind: str, name: str, said: str, tmp_path: Path) -> None:
    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            recorder.function(sending, Crossing(kind, "phone", "server", {name: "missing"}, "rows"))(["a"], [[1.0]])

    with pytest.raises(UsageError, match=said):
        block()
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_mapping_is_told_without_what_it_quotes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def reading(rows: Any, missing: Any) -> Any:
        raise KeyError("a private text")

    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            recorder.function(sending, Crossing("labels", "phone", "server", reading, "rows"))(["a"], 1)

    with caplog.at_level(logging.ERROR), pytest.raises(UsageError, match=r"KeyError in test_recording\.py, line \d+$"):
        block()
    assert "private" not in caplog.text


def test_a_full_disk_ends_the_recording_and_not_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            monkeypatch.setattr(ViewWriter, "__call__", full)
            recorder.function(sending, DIFFERENCE)(["a"], torch.ones(1, 3))
            calls.append("went on")

    calls: list[str] = []
    with pytest.raises(UsageError, match=r"filing a message: OSError in test_recording\.py"):
        block()
    assert calls == ["went on"]
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_that_attacks_know_as_a_kind_must_be_filed_as_one(tmp_path: Path) -> None:
    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            tensors = {"activations": "missing", "labels": "missing"}
            recorder.function(sending, Crossing("activations", "phone", "server", tensors, "rows"))(["a"], [[[1.0]]])

    with pytest.raises(UsageError, match="'labels' is filed as a tensor of 'activations'; give a Crossing of the kind"):
        block()


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (
            "difference",
            torch.tensor([[0.5, float("nan"), 0.5]]),
            "'difference' of 'difference' holds what is no finite",
        ),
        ("activations", torch.ones(1, 4), r"'activations' has the shape \(1, 4\); give \(N or P, L, d\)"),
        ("labels", torch.ones(1), "'labels' is of torch.float32; give whole numbers"),
        ("activations", torch.ones(1, 1, 4, dtype=torch.int64), "'activations' is of torch.int64; give fractions"),
    ],
)
def test_what_attacks_would_refuse_is_refused_at_once(kind: str, values: Any, said: str, tmp_path: Path) -> None:
    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            recorder.function(sending, Crossing(kind, "phone", "server", {kind: "missing"}, "rows"))(["a"], values)

    with pytest.raises(UsageError, match=said):
        block()


def test_a_kind_without_its_tensor_is_refused_at_once(tmp_path: Path) -> None:
    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            crossing = Crossing("activations", "phone", "server", {"states": "missing"}, "rows")
            recorder.function(sending, crossing)(["a"], [[[1.0]]])

    with pytest.raises(UsageError, match="of the kind 'activations' has no such tensors; give 'activations'"):
        block()


def test_calls_from_several_threads_are_filed_one_by_one(tmp_path: Path) -> None:
    crossing = Crossing(
        "difference", lambda device, *_: device, "server", lambda device, at, x: {"difference": x},
        lambda device, at, x: [f"{device}:{at}"], Answer("gradient", lambda x: {"gradient": x}),
    )  # fmt: skip
    together = threading.Barrier(8)
    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        send = recorder.function(lambda device, at, x: x + 1, crossing)

        def phone(number: int) -> None:
            together.wait()
            for at in range(50):
                send(f"phone-{number}", at, torch.full((1, 2), float(100 * number + at)))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(phone, range(8)))
    view = load_view(tmp_path / "run" / "view")
    ids, rows = view.rows("difference", "difference")
    assert {i: int(row[0]) for i, row in zip(ids, rows, strict=True)} == {
        f"phone-{number}:{at}": 100 * number + at for number in range(8) for at in range(50)
    }
    assert [m.step for m in view.sent] == list(range(400))
    assert [m.step for m in view.received if m.sender == "phone-5"] == list(range(50))


def test_a_coroutine_function_is_filed_once_it_is_awaited(tmp_path: Path) -> None:
    async def sending_later(rows: list[str], missing: torch.Tensor) -> str:
        await asyncio.sleep(0)
        return "done"

    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        send = recorder.function(sending_later, DIFFERENCE)
        assert asyncio.iscoroutinefunction(send)

        async def several() -> list[str]:
            return await asyncio.gather(*(send([f"{i}"], torch.ones(1, 3)) for i in range(3)))

        assert asyncio.run(several()) == ["done"] * 3
    assert set(load_view(tmp_path / "run" / "view").sample_ids()) == {"0", "1", "2"}


def test_a_call_still_under_way_when_the_block_ends_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    begun, released = threading.Event(), threading.Event()

    def slow(rows: list[str], missing: torch.Tensor) -> str:
        if rows == ["slow"]:
            begun.set()
            assert released.wait(60)
        return rows[0]

    with ThreadPoolExecutor(1) as pool:
        with Recording(tmp_path / "run", public=PUBLIC) as recorder:
            send = recorder.function(slow, DIFFERENCE)
            send(["a"], torch.ones(1, 3))
            late = pool.submit(send, ["slow"], torch.ones(1, 3))
            assert begun.wait(60)
        released.set()
        assert late.result() == "slow"
    assert traffic(tmp_path / "run")["unfinished_calls"] == 1
    assert load_view(tmp_path / "run" / "view").sample_ids() == ("a",)
    assert send(["after"], torch.ones(1, 3)) == "after"  # the wrapped function outlives the recording


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidelight.system.view.SHARD_TENSORS", 10)
    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        send = recorder.function(sending, DIFFERENCE)
        for at in range(95):
            send([at], torch.ones(1, 3))
        partial = next(path for path in tmp_path.iterdir() if "partial" in path.name)
        assert len(list((partial / "view").glob("shard-*"))) == 9
    assert len(load_view(tmp_path / "run" / "view").sample_ids()) == 95


# --- wrong usage, told before anything runs ---------------------------------------------------------------------------


def test_names_of_no_argument_are_refused_when_the_function_is_wrapped(tmp_path: Path) -> None:
    recorder = Recording(tmp_path / "run", public=PUBLIC)
    with pytest.raises(UnknownName, match="unknown argument of sending 'row'; did you mean 'rows'"):
        recorder.function(sending, Crossing("difference", "phone", "server", {"difference": "missing"}, "row"))
    with pytest.raises(UnknownName, match="unknown argument of sending 'x'; known: missing, rows"):
        recorder.function(sending, Crossing("difference", "phone", "server", {"difference": "x"}, "rows"))
    with pytest.raises(UsageError, match="a generator function is not recorded"):
        recorder.function(nonsense, DIFFERENCE)


def test_arguments_by_any_way_of_passing_them_are_found(tmp_path: Path) -> None:
    def of_all_kinds(rows: Any, /, *more: Any, missing: Any = ((0.0, 0.0),), **others: Any) -> None:
        pass

    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        recorder.function(of_all_kinds, DIFFERENCE)(["default"])
        other = Crossing("difference", "phone", "server", {"difference": "states"}, "rows")
        recorder.function(of_all_kinds, other)(["by name"], 1, 2, states=[[1.0, 2.0]])
    ids, rows = load_view(tmp_path / "run" / "view").rows("difference", "difference")
    assert (ids, rows.tolist()) == (("default", "by name"), [[0.0, 0.0], [1.0, 2.0]])


def test_a_folder_that_exists_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "file").touch()
    for out in (tmp_path / "run", tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="give a folder that is not there"):
            Recording(out, public=PUBLIC).__enter__()
    assert list((tmp_path / "run").iterdir()) == []


def test_two_recordings_cannot_share_a_folder(tmp_path: Path) -> None:
    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        with pytest.raises(UsageError, match="give a folder that is not there"):
            Recording(tmp_path / "run", public=PUBLIC).__enter__()
        recorder.function(sending, DIFFERENCE)(["a"], torch.ones(1, 3))
    assert load_view(tmp_path / "run" / "view").sample_ids() == ("a",)


def test_a_recording_of_parties_that_saw_nothing_is_refused(tmp_path: Path) -> None:
    def block() -> None:
        with Recording(tmp_path / "run", public=PUBLIC, parties={"relay"}) as recorder:
            recorder.function(sending, DIFFERENCE)(["a"], torch.ones(1, 3))

    with pytest.raises(UsageError, match="nothing crossed to or from relay; name the parties"):
        block()
    assert list(tmp_path.iterdir()) == []
