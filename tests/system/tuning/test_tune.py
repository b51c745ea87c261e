"""A device as a program, in one process: what it leaves, what it refuses, and how it goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import special

from sidelight.system.building import Recipe
from sidelight.system.errors import UsageError
from sidelight.system.folder import read_tensors
from sidelight.system.progress import Progress
from sidelight.system.tuning.home import Home
from sidelight.system.tuning.order import Order, prepared
from sidelight.system.tuning.outcome import share
from sidelight.system.tuning.tune import Surroundings, tune

from ...contracts.micro import Micro
from .small import SEED, SIDE, Break, FolderCache, Host, begun, carried_out, order, rows_csv, until_done

ROTATED = Recipe("pae", {"side": SIDE, "batch": 10}, {"rotate": {}, "decoy": {}, "label-dp": {"epsilon": 3.0}})
NOISY = Recipe("pae", {"side": SIDE, "batch": 10}, {"noise": {"epsilon": 8.0}, "activation-noise": {"epsilon": 50.0}})


@pytest.fixture
def asked(tmp_path: Path, micro: Micro) -> Order:
    rows_csv(tmp_path)
    return order(tmp_path, micro)


def summary(asked: Order) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((asked.out / "summary.json").read_text("utf-8"))
    return found


def weights(asked: Order) -> dict[str, torch.Tensor]:
    return read_tensors(asked.out / "model" / "model.safetensors")


def everything(out: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(out.rglob("*")) if p.is_file()}


# --- a whole tuning --------------------------------------------------------------------------------------------


def test_a_tuning_learns_and_counts_what_crossed(asked: Order) -> None:
    host = Host()
    longer = replace(asked, settings={"side": {**SIDE, "epochs": 20}, "batch": 10})
    assert carried_out(longer, host)
    found, (heard,) = summary(longer), host.heard
    assert found["samples"] + found["accuracy"]["n"] <= 72
    assert found["accuracy"]["low"] > max(found["majority"], found["untuned"]["value"])
    up = [m for m in heard if m.sender == "device-0"]
    assert found["messages"] == len(heard) == 2 * len(up)
    tensors = sum(4 * t.numel() for m in heard for t in m.tensors.values())  # fp32
    assert found["payload_bytes"] == tensors
    assert tensors < found["uplink_bytes"] + found["downlink_bytes"] < 1.2 * tensors
    assert (found["epochs"], found["resumed"], found["releases"]) == (20, 0, 1)
    assert found["peak_resident_bytes"] > 50e6


def test_the_interval_of_accuracy_is_clopper_and_pearsons() -> None:
    truth = torch.arange(17) % 3
    scores = torch.eye(3)[torch.where(torch.arange(17) < 11, truth, (truth + 1) % 3)]
    found = share(scores, truth)
    assert (found.value, found.n) == (11 / 17, 17)
    assert found.low == pytest.approx(special.betaincinv(11, 7, 0.025))
    assert found.high == pytest.approx(special.betaincinv(12, 6, 0.975))


def test_a_finished_tuning_is_left_as_it_is(asked: Order) -> None:
    host = Host()
    assert carried_out(asked, host)
    before = everything(asked.out)
    assert not tune(asked, Surroundings(host.open_wire, FolderCache, Progress(print)))
    assert everything(asked.out) == before
    assert len(host.heard) == 1


def test_nothing_private_is_told(asked: Order, capfd: pytest.CaptureFixture[str]) -> None:
    assert carried_out(asked, Host())
    device = asked.out / "device"
    seed = Home(asked.out).seed or ""
    rows = [line.rpartition(",")[0] for line in Path(asked.data).read_text("utf-8").splitlines()[1:]]
    ids = [sample.id for sample in prepared(asked, seed).samples]
    assert len(seed) == 32
    told = "".join(path.read_text("utf-8") for path in asked.out.rglob("*") if path.suffix in (".json", ".md"))
    told = "\n".join([told, *capfd.readouterr(), (device / "account.json").read_text("utf-8")])
    assert [private for private in [seed, *rows, *ids] if private in told] == []
    assert [path for path in (asked.out, device) if path.stat().st_mode & 0o077] == []
    assert [path for path in asked.out.rglob("*") if path.is_file() and path.stat().st_mode & 0o077] == []


def test_rows_are_dealt_by_the_seed_and_near_duplicates_of_held_out_rows_are_left_out(
    tmp_path: Path, micro: Micro, asked: Order
) -> None:
    first, again, other = (prepared(asked, seed) for seed in (SEED, SEED, "another"))
    assert [s.id for s in first.samples] == [s.id for s in again.samples]
    assert {s.id for s in first.samples} & {s.id for s in other.samples} == set()
    trained_on = {sample.text for sample in first.samples}
    assert not {sample.text for sample in first.held_out} & trained_on
    missing = 72 - len(first.samples) - len(first.held_out)
    assert first.notices == ([] if not missing else [first.notices[0]])
    assert not missing or first.notices[0].startswith(f"{missing} of 72 rows")


# --- going on --------------------------------------------------------------------------------------------------

BREAKS = [
    Break("samples", 0, False),
    Break("samples", 0, True),
    Break("activations", 0, False),
    Break("activations", 2, False),
    Break("activations", 2, True),
    Break("difference", 1, False),
    Break("difference", 4, True),
    Break("train", 0, False),
    Break("train", 1, True),
    Break("download", 0, False),
    Break("download", 0, True),
]


@pytest.mark.parametrize("at", BREAKS, ids=str)
def test_a_tuning_that_is_broken_off_ends_as_if_it_had_not_been(
    tmp_path: Path, micro: Micro, at: Break, undisturbed: dict[str, torch.Tensor]
) -> None:
    rows_csv(tmp_path)
    asked, host = begun(order(tmp_path, micro, ROTATED)), Host(breaks=[at])
    until_done(asked, host)
    assert len(host.heard) == 2
    for kind in ("activations", "difference"):
        first, second = host.sent(kind)
        whole = {i for i in first if all(i in host.sent(other)[0] for other in ("activations", "difference"))}
        assert second.keys() & whole == set()  # what was acknowledged is not sent again
        assert len(first.keys() | second.keys()) == len(prepared(asked, SEED).samples) * 5 // 4
        assert all(torch.equal(first[i], second[i]) for i in first.keys() & second.keys())
    found = weights(asked)
    assert found.keys() == undisturbed.keys()
    assert all(torch.equal(found[name], undisturbed[name]) for name in found)
    counted = summary(asked)
    assert counted["resumed"] == 1
    assert counted["messages"] == sum(map(len, host.heard))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, micro: Micro) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("undisturbed")
    rows_csv(folder)
    asked = begun(order(folder, micro, ROTATED))
    assert carried_out(asked, Host())
    return weights(asked)


def test_noise_is_kept_before_it_is_sent_and_never_drawn_again(tmp_path: Path, micro: Micro) -> None:
    rows_csv(tmp_path)
    asked, host = begun(order(tmp_path, micro, NOISY)), Host(breaks=[Break("difference", 2, False)])
    until_done(asked, host)
    ready = prepared(asked, SEED)
    by_id = {sample.id: sample for sample in ready.samples}
    device = ready.protocol.device(ready.scene, ready.party)
    noise = [_noise(device, by_id, rows) for rows in host.sent("activations")]
    assert min(map(len, noise)) > 20
    again = host.sent("activations")[0].keys() & host.sent("activations")[1].keys()
    assert len(again) == 10  # their differences were lost on the way
    assert all(torch.equal(host.sent("activations")[0][i], host.sent("activations")[1][i]) for i in again)
    # had the second process drawn from the stored seed, its first fresh sample would carry the first one's noise
    first = torch.stack([noise[0][i] for i in noise[0]])
    second = torch.stack([noise[1][i] for i in noise[1] if i not in again])
    apart = torch.cdist(first.flatten(1), second.flatten(1))
    assert float(apart.min()) > 0.5 * float(first.flatten(1).norm(dim=1).median())
    assert summary(asked)["releases"] == 1


@torch.no_grad()
def _noise(device: Any, by_id: Any, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What was added to each sample's activations."""
    shown = device.cover.shown(device.states([by_id[i].text for i in rows]))
    return {i: row - bare for (i, row), bare in zip(rows.items(), shown, strict=True)}


def test_a_model_that_was_half_exported_is_exported_again(asked: Order) -> None:
    host = Host()
    assert carried_out(asked, host)
    before = weights(asked)
    (asked.out / "summary.json").unlink()
    assert carried_out(asked, host)
    assert all(torch.equal(weights(asked)[name], before[name]) for name in before)
    assert host.sent("activations")[1] == {}
    assert summary(asked)["resumed"] == 1


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 5, "settings": {"batch": 10}}, "settings.side.bottleneck = 16"),
        (
            {"settings": {"side": {**SIDE, "epochs": 4}, "batch": 10}},
            "settings.side.epochs = 3 and is asked to go on",
        ),
        ({"defences": {"rotate": {}}}, "defences"),
        ({"test_share": 0.3}, "test share = 0.2"),
        ({"name": "device-1"}, 'name = "device-0"'),
    ],
)
def test_a_tuning_goes_on_only_as_it_was_begun(asked: Order, changes: dict[str, Any], named: str) -> None:
    host = Host(breaks=[Break("train", 1, True)])
    assert not carried_out(asked, host)
    before = everything(asked.out)
    with pytest.raises(UsageError) as refused:
        carried_out(replace(asked, **changes), host)
    assert named in str(refused.value)
    assert str(refused.value).endswith("; give the same, or another --out")
    assert everything(asked.out) == before
    assert carried_out(asked, host)


def test_other_data_and_another_backbone_are_refused(tmp_path: Path, micro: Micro, asked: Order) -> None:
    assert not carried_out(asked, Host(breaks=[Break("train", 1, True)]))
    with pytest.raises(UsageError, match="was begun with backbone = "):
        carried_out(replace(asked, backbone=str(micro.folders["llama"])), Host())
    rows_csv(tmp_path, a_class=13)
    with pytest.raises(UsageError, match="was begun with data = "):
        carried_out(asked, Host())


def test_a_device_whose_kept_rows_are_gone_is_refused(asked: Order) -> None:
    assert not carried_out(asked, Host(breaks=[Break("train", 1, True)]))
    (asked.out / "device" / "kept").rename(asked.out / "elsewhere")
    with pytest.raises(UsageError, match="noise on samples that were sent would be drawn anew"):
        carried_out(asked, Host())


def test_two_tunings_do_not_share_a_folder(asked: Order) -> None:
    begun(asked)
    with Home(asked.out).held(), pytest.raises(UsageError, match="a tuning runs in"):
        carried_out(asked, Host())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "absent.csv"}, "absent.csv"),
        ({"data": "one.csv"}, "at least 2 labels are needed"),
        ({"backbone": "./nowhere"}, "the backbone folder ./nowhere does not exist"),
        ({"protocol": "pea"}, "did you mean 'pae'"),
        ({"settings": {"selectr": "mean"}}, "did you mean 'selector'"),
        ({"epochs": 3}, "side.epochs and --epochs are both given"),
        ({"findings": Path("nothing")}, "nothing is no finished audit"),
    ],
)
def test_wrong_input_leaves_nothing(
    asked: Order, changes: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text("text,label\n" + "".join(f"word {n},same\n" for n in range(30)), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as refused:
        carried_out(replace(asked, **changes), Host())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_something_else_and_a_file_are_refused(asked: Order) -> None:
    asked.out.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is a file"):
        carried_out(asked, Host())
    asked.out.unlink()
    asked.out.mkdir()
    (asked.out / "notes").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="holds files that are no tuning's"):
        carried_out(asked, Host())
    assert [path.name for path in asked.out.iterdir()] == ["notes"]


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_test_share_is_a_share(asked: Order, share: float) -> None:
    with pytest.raises(UsageError, match="give a share between 0 and 1"):
        replace(asked, test_share=share)
