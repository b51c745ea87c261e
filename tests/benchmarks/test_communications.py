"""What a formula derives is what crosses: on the wire by kind and direction, and on a socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import pytest
import torch

from sidelight.benchmarks import families
from sidelight.benchmarks.communications import checking, far_device, runs, shaped_link, sockets
from sidelight.benchmarks.communications.bar import SETTING, headlines
from sidelight.benchmarks.communications.delaying_proxy import delaying
from sidelight.benchmarks.communications.envelopes import Form, Tensor, number, numbers
from sidelight.benchmarks.communications.formulas import FORMULAS, SILENT, derived
from sidelight.benchmarks.communications.links import LINKS, Link, Load, load, passing, seconds
from sidelight.benchmarks.communications.setting import Setting
from sidelight.benchmarks.communications.shapes import SHAPES, llama, opt, shape_of
from sidelight.benchmarks.communications.tables import FLEETS, megabytes, of_model, overview, sweeps
from sidelight.benchmarks.communications.target import SIDE_BY_SIDE, Found, _columns, _side_by_side, _tried
from sidelight.benchmarks.communications.traffic import DOWN, UP, Cost, Flow, added, counted, total
from sidelight.system.backbone import load_backbone
from sidelight.system.errors import UsageError
from sidelight.system.message import Message, encode
from sidelight.system.protocols import PROTOCOLS, Protocol
from sidelight.system.protocols.pae import PAE
from sidelight.system.wire import Wire

from ..contracts.micro import WIDTH, Micro


def micro_setting(micro: Micro, family: str) -> Setting:
    """Sizes read off the model itself, which is not one of the published ones."""
    backbone = micro.backbone(family)
    config = backbone.model.config
    blocks, vocabulary = config.num_hidden_layers, backbone.vocabulary
    if family == "opt":
        shape = replace(opt("micro", "", blocks, WIDTH, vocabulary), maps={})
        wide = config.ffn_dim
        maps = {f"self_attn.{part}_proj": (WIDTH, WIDTH) for part in ("k", "q", "v", "out")}
        shape = replace(shape, maps={**maps, "fc1": (WIDTH, wide), "fc2": (wide, WIDTH)})
    else:
        keys = WIDTH * config.num_key_value_heads // config.num_attention_heads
        shape = llama("micro", "", blocks, WIDTH, keys, config.intermediate_size, vocabulary)
    return Setting(shape, samples=18, epochs=2, batch=4, positions=7, classes=5, rank=2, entries=3)


CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in FORMULAS),
    *((name, {"devices": 3}) for name in runs.FLEETS),
    *((name, {"precision": "int8"}) for name in FORMULAS),
    *((name, {"trainable": False, "devices": 2}) for name in ("split", "ushape", "splitfed")),
    *((name, {"devices": 2, "every": 2}) for name in runs.AVERAGED),
]


def test_every_protocol_has_a_formula_or_sends_nothing() -> None:
    assert {*FORMULAS, *SILENT} == set(PROTOCOLS)


@pytest.mark.parametrize(("name", "changed"), CASES, ids=str)
def test_a_formula_derives_what_the_wire_counts(micro: Micro, name: str, changed: dict[str, Any]) -> None:
    setting = replace(micro_setting(micro, "opt"), **changed)
    assert derived(name, setting) == runs.run(name, setting, micro.backbone("opt"))


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_it_does_for_another_family(micro: Micro, name: str) -> None:
    setting = micro_setting(micro, "llama")
    assert derived(name, setting) == runs.run(name, setting, micro.backbone("llama"))


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_the_shape_of_a_model_at_hand_is_read_off_it(micro: Micro, family: str) -> None:
    known, found = micro_setting(micro, family).shape, shape_of(micro.backbone(family))
    assert (found.blocks, found.width, found.vocabulary) == (known.blocks, known.width, known.vocabulary)
    assert sorted(found.updates(2, 3)) == sorted(known.updates(2, 3))


def test_formulas_are_checked_on_a_model_of_a_family_that_no_table_knows(tmp_path: Path) -> None:
    backbone = load_backbone(str(families.make("gpt2", tmp_path)))
    assert {one.off for one in checking.checked_on(backbone, shape_of(backbone), lambda _line: None)} == {0}


def test_a_model_that_predicts_no_tokens_has_no_figures_of_a_protocol_that_needs_them(micro: Micro) -> None:
    shape = replace(micro_setting(micro, "opt").shape, causal=False)
    told = [str(row["protocol"]) for table in of_model(shape) for row in table.rows]
    assert sorted(told) == sorted(2 * [name for name in FORMULAS if name != "pae_lm"])
    (models,) = (table for table in sweeps({"mine": shape, "other": SHAPES["OPT-125M"]}) if "model" in table.rows[0])
    assert [row["pae_lm"] is None for row in models.rows] == [True, False]


def test_an_error_leaves_runs_that_have_not_begun() -> None:
    gate = Event()
    with pytest.raises(ArithmeticError), _side_by_side() as pool:  # noqa: PT012
        for _ in range(SIDE_BY_SIDE):
            pool.submit(gate.wait)
        later = pool.submit(gate.wait)
        Timer(0.1, gate.set).start()  # those that run are waited for
        raise ArithmeticError
    assert later.cancelled()


@pytest.mark.parametrize("name", ["pae", "mobillm", "splitfed"])
def test_what_passes_a_socket_is_derived(micro: Micro, name: str) -> None:
    # long enough messages for headers, which no formula holds, to be less than 1 %
    setting = replace(micro_setting(micro, "opt"), samples=768, batch=256, epochs=1, classes=20, rank=16)
    seen = sockets.run(name, setting, str(micro.folders["opt"]))
    found = checking.on_socket(name, setting, seen)
    assert found.off == 0
    assert 0 < found.socket_off < checking.MOST


def test_a_wrong_formula_is_seen(micro: Micro) -> None:
    setting = micro_setting(micro, "opt")
    sent = runs.run("pae", setting, micro.backbone("opt"))
    assert checking.on_wire("pae", setting, sent).off == 0
    assert checking.on_wire("pae", replace(setting, classes=6), sent).off > 0.01
    assert checking.on_wire("mobillm", setting, sent).off > 0.01


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "int4", "int2"])
def test_an_envelope_is_as_long_as_its_encoding(precision: str) -> None:
    shapes = ((3, 1, 70), (2, 65), (300,), (1, 129, 3))
    tensors = {f"tensor{at}": torch.randn(shape) for at, shape in enumerate(shapes)}
    message = Message("kind", "device-0", "server", 300, 0, ("0" * 16,) * 20, tensors, precision)  # type: ignore[arg-type]
    form = Form(
        "kind", "device-0", "server", 300, 20, tuple(Tensor(f"tensor{at}", s, precision) for at, s in enumerate(shapes))
    )
    assert form.size == len(encode(message))
    assert form.payload == message.payload


@pytest.mark.parametrize("count", [0, 1, 2, 128, 129, 20_000])
def test_the_steps_of_many_messages_are_added_up(count: int) -> None:
    assert numbers(count) == sum(map(number, range(count)))


def test_flows_are_added_by_kind_and_direction() -> None:
    form = Form("k", "device-0", "server", tensors=(Tensor("t", (2,), "fp32"),))
    found = added([Flow(form, 3), Flow(form, 1), Flow(Form("k", "server", "device-0"), 4)])
    assert found["k", UP].messages == found["k", DOWN].messages == 4
    assert found["k", UP].tensors == 4 * 8
    assert found["k", UP].envelopes == 4 * (form.size - 8) + 3 * 2  # steps 1, 2 and 3 take two bytes each
    assert total(found).tensors == 32
    assert total({}) == Cost(0, 0, 0)


def test_the_bar_is_the_papers_arithmetic() -> None:
    # by hand: n (L d + K) 2 + 4 (2 L d r + L + K d + K) against E n (T L d 2 + 16) and 2 E n T d 2
    own = 10_000 * (12 * 768 + 20) * 2 + 4 * (2 * 12 * 768 * 16 + 12 + 20 * 768 + 20)
    assert total(derived("pae", SETTING)).tensors == own
    against = 3 * 10_000 * (128 * 12 * 768 * 2 + 16) + own - 10_000 * (12 * 768 + 20) * 2
    assert total(derived("mobillm", SETTING)).tensors == against
    both, least = headlines()[:2]
    assert both.found == pytest.approx(100 * own / against, rel=0.01)
    assert both.reached
    assert least.reached


def by_hand() -> dict[str, tuple[int, int]]:
    """Tensor bytes up and down as the formulas' pages give them, for OPT-125M's shape."""
    n, epochs, long, classes, rank, devices, blocks, width, value = 1600, 3, 128, 20, 16, 4, 12, 768, 2
    vocabulary, entries, cut = 50272, 64, 4

    def updates(of: int) -> int:
        return of * rank * (4 * 2 + 2 * 5) * width

    def side(outputs: int) -> int:
        return 4 * (2 * blocks * width * rank + blocks + outputs * width + outputs)

    head = classes * width + classes
    states = epochs * n * long * width * value
    sent_once = n * (blocks * width + classes) * value
    above, parts = 4 * updates(blocks - cut), 4 * devices * epochs * updates(cut)
    split_up = states + epochs * n * 16
    fleet = (split_up + parts, states + devices * (above + 4 * head) + parts + 4 * devices * updates(cut))
    whole = 4 * devices * (updates(blocks) + head)
    at_each = (blocks * width + entries) * value + entries * 2
    return {
        "pae": (sent_once, side(classes)),
        "pae_lm": (n * (long - 1) * at_each + 16 * n, side(vocabulary)),
        "fedmobillm": (sent_once, devices * side(classes)),
        "mobillm": (epochs * n * (long * blocks * width * value + 16), side(classes)),
        "split": (split_up, states + above + 4 * head),
        "ushape": (states + epochs * n * (width * value + 8), states + epochs * n * width * value + above),
        "splitfed": fleet,
        "splitlora": fleet,
        "mesfl": fleet,
        "fedlora": (epochs * whole, (epochs + 1) * whole),
    }


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_tensor_bytes_are_those_of_the_written_formulas(name: str) -> None:
    costs = derived(name, replace(SETTING, samples=1600, devices=FLEETS.get(name, 1)))
    assert (total(costs, UP).tensors, total(costs, DOWN).tensors) == by_hand()[name]


def test_tables_hold_every_protocol_along_every_size() -> None:
    assert [row["protocol"] for row in overview()] == list(FORMULAS)
    for table in sweeps():
        assert all(set(FORMULAS) < set(row) for row in table.rows)
    assert megabytes(SETTING)["pae"] == megabytes(replace(SETTING, positions=16))["pae"]
    assert SHAPES["Llama-3.2-1B"].maps["self_attn.k_proj"] == (2048, 512)


def test_rows_that_devices_cannot_share_are_refused() -> None:
    with pytest.raises(UsageError, match="10 samples are not shared evenly by 3 devices"):
        Setting(SHAPES["OPT-125M"], samples=10, devices=3)


def test_seconds_follow_from_rate_and_round_trips() -> None:
    link = Link("plain", "", 8e6, 8e6, 0.1)
    assert passing(1448, 8e6, link) == pytest.approx(1514e-6)
    slow = seconds(link, Load(2, ((1448, 2),), ((1448, 2),)))
    assert slow == pytest.approx(2 * 0.1 + 2 * 0.1 + 4 * 1514e-6)
    assert seconds(link, Load(2, ((1448, 2),), ((1448, 2),)), devices=2) == pytest.approx(0.2 + 0.1 + 2 * 1514e-6)


def test_loss_delays_as_drawing_it_does() -> None:
    link = Link("lossy", "", 12e6, 12e6, 0.05, loss=0.02)
    generator = torch.Generator().manual_seed(0)
    segments, each = 100, 8 * 1514 / 12e6
    lost = torch.rand(20_000, segments, generator=generator) < link.loss
    ends = (torch.arange(segments) + 1) * each + lost * link.round_trip
    drawn = (ends.max(1).values - segments * each).mean()
    free = passing(100 * 1448, 12e6, replace(link, loss=0.0))
    assert passing(100 * 1448, 12e6, link) - free / 0.98 == pytest.approx(float(drawn), rel=0.03)


def test_what_is_sent_on_a_shaped_link_is_what_its_model_counts() -> None:
    wire = Wire(PAE.hosted(far_device.agreed(), None).roles, lambda _message: None)
    states = torch.zeros(SETTING.batch, SETTING.shape.blocks, SETTING.shape.width)
    far_device.send(wire, 40, states)
    assert counted(wire.traffic) == derived("pae", replace(far_device.SETTING, samples=40))


@pytest.mark.parametrize("rated", [False, True])
def test_a_proxy_that_delays_and_loses_passes_every_byte_in_order(rated: bool) -> None:
    sent = bytes(range(256)) * 800
    link = Link("short", "", 1e8, 1e8, 0.01, loss=0.1)
    with socket.create_server(("localhost", 0)) as server:
        server.settimeout(30)
        with (
            delaying(server.getsockname()[1], "127.0.0.1", link, rated) as port,
            socket.create_connection(("127.0.0.1", port), timeout=30) as device,
        ):
            Thread(target=send, args=(device, sent), daemon=True).start()
            far, _ = server.accept()
            with far:
                far.settimeout(30)
                assert read(far) == sent
                far.sendall(sent[::-1])
            assert read(device) == sent[::-1]


def send(end: socket.socket, data: bytes) -> None:
    """All of it, and no more."""
    end.sendall(data)
    end.shutdown(socket.SHUT_WR)


def read(end: socket.socket) -> bytes:
    """All that comes until the other side ends."""
    found = b""
    while data := end.recv(1 << 16):
        found += data
    return found


def test_a_machine_that_cannot_shape_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert not shaped_link.by_kernel()
    assert "needs root and ip and tc" in capsys.readouterr().out


def test_calls_are_what_devices_begin() -> None:
    setting = replace(SETTING, samples=32)
    passed = load(FORMULAS["pae"](setting))
    assert passed.calls == 1 + 2 * 2 + 3 + 1
    up = sum(size * times for size, times in passed.up)
    assert total(derived("pae", setting), UP).bytes < up < 1.01 * total(derived("pae", setting), UP).bytes
    assert all(seconds(link, passed) > 0 for link in LINKS.values())


def test_bytes_to_a_target_are_those_of_the_first_run_that_reaches_it() -> None:
    tries = {"1": Found(0.5, 0.4, 10.0), "2": Found(0.7, 0.6, 20.0), "4": Found(0.9, 0.8, 40.0)}
    reached = {"x reached": "1 of 1", "epochs to x": "2", "accuracy (x), mean": 0.6, "bytes to x, median": 20.0}
    missed = {"x reached": "0 of 1", "epochs to x": "-", "accuracy (x), mean": 0.8, "bytes to x, median": None}
    assert _columns("x", [tries], [0.6]) == reached
    assert _columns("x", [tries], [0.95]) == missed
    both = _columns("x", [tries, tries, tries], [0.95, 0.6, 0.8])
    assert both == {"x reached": "2 of 3", "epochs to x": "-, 2, 4", "accuracy (x), mean": pytest.approx(2.2 / 3),
                    "bytes to x, median": 30.0}  # fmt: skip
    assert list(_tried(lambda epochs: PAE(batch=epochs), batches_of(tries), 0.6)) == ["1", "2"]


def batches_of(tries: dict[str, Found]) -> Callable[[Protocol], Found]:
    """What a run found, told by the batch of its protocol."""
    return lambda protocol: tries[str(protocol.settings()["batch"])]
