"""Tables of plug-ins: lazy, loud about unknown names, open to entry points, closed to duplicates."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from importlib.metadata import EntryPoint, EntryPoints, entry_points, version
from typing import Any

import pytest

from sidelight.system import registry as registry_module
from sidelight.system.errors import UnknownName, UsageError
from sidelight.system.registry import Registry
from sidelight.system.selector import select

GROUP = "sidelight.fruit"
TABLE = {"apple": "collections:Counter", "pear": ".system.selector:select", "plum": "no.such.module:Plum"}


def fruit(monkeypatch: pytest.MonkeyPatch, **points: str) -> Registry[Any]:
    """The table with installed entry points of the group."""
    installed = EntryPoints(EntryPoint(name, value, GROUP) for name, value in points.items())
    monkeypatch.setattr(registry_module, "entry_points", lambda group: installed.select(group=group))
    return Registry("fruit", TABLE, GROUP)


def test_names_give_what_the_table_names_relative_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fruit(monkeypatch)
    assert found["apple"] is Counter
    assert found["pear"] is select
    assert list(found) == ["apple", "pear", "plum"]
    assert len(found) == 3


def test_nothing_is_imported_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fruit(monkeypatch, cherry="this_module_does_not_exist:Cherry")
    assert "plum" in found
    assert "cherry" in found
    assert "no.such.module" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        found["plum"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("aple", "unknown fruit 'aple'; did you mean 'apple'? known: apple, pear, plum"),
        ("PEAR", "unknown fruit 'PEAR'; known: apple, pear, plum"),
        ("", "unknown fruit ''; known: apple, pear, plum"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_the_list(
    monkeypatch: pytest.MonkeyPatch, asked: str, said: str
) -> None:
    found = fruit(monkeypatch)
    assert asked not in found
    with pytest.raises(UnknownName) as refusal:
        found[asked]
    assert str(refusal.value) == said


def test_entry_points_of_the_group_join_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fruit(monkeypatch, cherry="collections:OrderedDict")
    assert found["cherry"] is OrderedDict
    assert "cherry" in found
    assert len(found) == 4


def test_what_other_packages_brought_is_told_with_package_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    (point,) = (one for one in entry_points(group="console_scripts") if one.name == "sidelight")
    installed = EntryPoints([point])
    monkeypatch.setattr(registry_module, "entry_points", lambda group: installed)
    found = Registry[Any]("fruit", TABLE, GROUP)
    monkeypatch.setattr(found, "_table", {**TABLE, "sidelight": "no.such.module:Plum"})
    refusal = rf"the fruit 'sidelight' of sidelight {version('sidelight')} cannot be loaded \(ModuleNotFoundError: "
    with pytest.raises(UsageError, match=refusal):
        found["sidelight"]
    assert found.broken().keys() == {"sidelight"}
    assert "cannot be loaded" in found.broken()["sidelight"]
    assert found.origins(["sidelight", "apple", "sidelight"]) == {
        "fruit sidelight": f"sidelight {version('sidelight')}"
    }
    assert fruit(monkeypatch, cherry="collections:OrderedDict").origins(["cherry", "apple"]) == {}


def test_a_second_plug_in_of_one_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="two plug-ins call themselves fruit 'apple'; uninstall one"):
        fruit(monkeypatch, apple="collections:OrderedDict")
    twice = EntryPoints([EntryPoint("fig", "a:A", GROUP), EntryPoint("fig", "b:B", GROUP)])
    monkeypatch.setattr(registry_module, "entry_points", lambda group: twice)
    with pytest.raises(UsageError, match="'fig'"):
        Registry("fruit", TABLE, GROUP)
