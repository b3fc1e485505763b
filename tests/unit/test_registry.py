"""Registries: a new file is found by being there, and plug-ins of others by their entry points."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import pytest

from node.registry import Registry, UnknownNameError

OWN = """
from tests_registry_{mark} import COLOURS

@COLOURS.register("{name}")
class Colour: pass
"""


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[type]:
    """A registry over a package of two modules; another package registers one more."""
    mark = tmp_path.name.replace("-", "_")
    registry: Registry[type] = Registry("colour", f"colours_{mark}")
    monkeypatch.syspath_prepend(tmp_path)
    shared = ModuleType(f"tests_registry_{mark}")
    shared.__dict__["COLOURS"] = registry
    monkeypatch.setitem(sys.modules, shared.__name__, shared)
    package = tmp_path / f"colours_{mark}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("red", "blue"):
        (package / f"{name}.py").write_text(OWN.format(mark=mark, name=name))
    (tmp_path / f"foreign_{mark}.py").write_text(OWN.format(mark=mark, name="green"))
    found = EntryPoints([EntryPoint("green", f"foreign_{mark}", "narrows.colour")])
    monkeypatch.setattr("importlib.metadata.entry_points", found.select)
    return registry


def test_names_are_those_of_files_and_of_others(colours: Registry[type]) -> None:
    assert colours.names() == list(colours) == ["blue", "green", "red"]


@pytest.mark.parametrize("name", ["red", "green"])
def test_a_name_is_found_wherever_it_is_from(colours: Registry[type], name: str) -> None:
    assert name in colours
    assert colours[name].__name__ == "Colour"


def test_nobody_is_asked_for_what_is_ours(colours: Registry[type], monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents start by the hundred, and reading the metadata of all packages takes long."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **select: pytest.fail("it asked"))
    assert colours["blue"].__name__ == "Colour"


def test_an_unknown_name_lists_all(colours: Registry[type]) -> None:
    assert "grey" not in colours
    with pytest.raises(UnknownNameError, match="unknown colour 'grey': use one of blue, green, red"):
        colours["grey"]
