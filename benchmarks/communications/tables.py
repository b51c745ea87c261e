"""Traffic by protocol along each size, from the formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..finding import Cell, Plot, Table
from .bar import SETTING
from .formulas import FORMULAS, derived, running_on
from .links import LINKS, load, seconds
from .setting import Setting
from .shapes import SHAPES, Shape, opt
from .traffic import ACROSS, DOWN, UP, Cost, total

FLEETS = dict.fromkeys(("fedlora", "fedmobillm", "mesfl", "splitfed", "splitlora"), 4)
"""Devices of protocols that are made for several; the others have one."""
EVERY = {"splitlora": 100}
LENGTHS = (16, 32, 64, 128, 256, 512)
EPOCHS = (1, 2, 3, 5, 10)
LAYERS = (2, 6, 12, 24)
WIDTHS = (192, 768, 1024, 2048)
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int4", "int2")
MB = 1e6


def setting_of(name: str, setting: Setting = SETTING) -> Setting:
    """With as many devices, and averages as often, as a protocol has."""
    return replace(setting, devices=FLEETS.get(name, 1), every=EVERY.get(name, 0))


def overview(sizes: Setting = SETTING) -> list[dict[str, Cell]]:
    """Every protocol, at the bar's sizes where no others are given."""
    return [_row(name, setting_of(name, sizes)) for name in running_on(sizes.shape)]


def _row(name: str, setting: Setting) -> dict[str, Cell]:
    costs = derived(name, setting)
    up, down, all_of_it = total(costs, UP, ACROSS), total(costs, DOWN, ACROSS), total(costs)
    more = total(derived(name, replace(setting, epochs=setting.epochs + 1))).bytes
    return {
        "protocol": name,
        "devices": setting.devices,
        "bytes up a sample": up.bytes / setting.samples,
        "bytes down a sample": down.bytes / setting.samples,
        "MB up": up.bytes / MB,
        "MB down": down.bytes / MB,
        "MB that one more epoch adds": (more - all_of_it.bytes) / MB,
        "messages": all_of_it.messages,
        "tensors alone (the limit), MB": all_of_it.tensors / MB,
        "of what crosses, %": 100 * all_of_it.tensors / all_of_it.bytes,
    }


def by_kind() -> Table:
    """Kinds and directions."""
    rows: list[dict[str, Cell]] = [
        {"protocol": name, "kind": kind, "direction": way, **_columns(cost)}
        for name in FORMULAS
        for (kind, way), cost in sorted(derived(name, setting_of(name)).items())
    ]
    return Table("By kind and direction, whole run", rows)


def _columns(cost: Cost) -> dict[str, Cell]:
    return {"messages": cost.messages, "tensor bytes": cost.tensors, "envelope bytes": cost.envelopes}


def sweeps(shapes: Mapping[str, Shape] = SHAPES) -> list[Table]:
    """Megabytes of a whole run, along each size."""
    return [
        _along("length", "tokens", LENGTHS, lambda at: replace(SETTING, positions=at)),
        _along("epochs", "epochs", EPOCHS, lambda at: replace(SETTING, epochs=at)),
        _along("layers, width 768", "layers", LAYERS, lambda at: replace(SETTING, shape=opt("", "", at, 768))),
        _along("width, 12 layers", "width", WIDTHS, lambda at: replace(SETTING, shape=opt("", "", 12, at))),
        _along("model", "model", tuple(shapes), lambda at: replace(SETTING, shape=shapes[str(at)])),
        _along("precision", "precision", PRECISIONS, lambda at: replace(SETTING, precision=str(at))),
    ]


def _along(what: str, column: str, values: Sequence[Cell], made: Callable[..., Setting]) -> Table:
    rows = [{column: value, **megabytes(made(value))} for value in values]
    return Table(f"Megabytes of a whole run, both ways, by {what}", rows)


def megabytes(setting: Setting) -> dict[str, Cell]:
    """Of every protocol; none of one that does not run on the shape."""
    known = {name: total(derived(name, setting_of(name, setting))).bytes / MB for name in running_on(setting.shape)}
    return {name: known.get(name) for name in FORMULAS}


def of_model(shape: Shape) -> list[Table]:
    """What every protocol costs with a model of one's own."""
    sizes = replace(SETTING, shape=shape)
    listed = Table(f"{shape.name}: every protocol, {shape.blocks} blocks of width {shape.width}", overview(sizes))
    return [listed, on_links(sizes)]


def on_links(sizes: Setting = SETTING) -> Table:
    """Minutes of a whole run, by the model of links."""
    rows: list[dict[str, Cell]] = []
    for name in running_on(sizes.shape):
        setting = setting_of(name, sizes)
        passed = load(FORMULAS[name](setting))
        minutes = {link.name: seconds(link, passed, setting.devices) / 60 for link in LINKS.values()}
        rows.append({"protocol": name, "devices": setting.devices, "calls": passed.calls, **minutes})
    return Table(
        f"{sizes.shape.name}: minutes of a whole run on a device's own link, computing left out (modelled)", rows
    )


def plots(tables: Sequence[Table]) -> list[Plot]:
    """Of the first two sweeps."""
    return [
        Plot(table.title, column, "MB", {name: _points(table.rows, column, name) for name in FORMULAS})
        for table, column in zip(tables, ("tokens", "epochs"), strict=False)
    ]


def _points(rows: Sequence[Mapping[str, Cell]], x: str, y: str) -> list[tuple[float, float]]:
    return [(float(str(row[x])), float(str(row[y]))) for row in rows]
