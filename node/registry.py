"""Named implementations of one interface, found by importing their package.

Adding an implementation is one new file: the module is imported at first use and registers its
class by decorator. Third parties register through the entry-point group ``narrows.<kind>``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
C = TypeVar("C")


class UnknownNameError(LookupError):
    """No implementation has this name; the message lists those that exist."""


class Registry(Generic[T]):
    """Maps names to the classes of one kind.

    Args:
        kind: what is registered, in the singular, as users read it ("congestion controller").
        package: dotted name of the package whose modules register themselves.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._classes: dict[str, T] = {}
        self._own_loaded = False
        self._foreign_loaded = False

    def register(self, name: str) -> Callable[[C], C]:
        """Return a decorator that registers a class (or any object) under ``name``."""

        def decorate(implementation: C) -> C:
            present = self._classes.get(name)
            assert present is None or present is implementation, f"{self.kind} {name!r} twice"
            self._classes[name] = implementation  # type: ignore[assignment]
            return implementation

        return decorate

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._load_own()
        self._load_foreign()
        return sorted(self._classes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        self._load_own()
        if name not in self._classes:
            self._load_foreign()
        return name in self._classes

    def __getitem__(self, name: str) -> T:
        """Return the implementation called ``name``.

        Raises:
            UnknownNameError: there is none; the message lists the names there are.
        """
        if name not in self:
            known = ", ".join(self.names())
            raise UnknownNameError(f"unknown {self.kind} {name!r}: use one of {known}")
        return self._classes[name]

    def _load_own(self) -> None:
        if self._own_loaded:
            return
        self._own_loaded = True
        package = importlib.import_module(self._package)
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
            importlib.import_module(f"{self._package}.{module.name}")

    def _load_foreign(self) -> None:
        if self._foreign_loaded:
            return
        self._foreign_loaded = True
        # Imported here, and only for names that are not ours: it brings a sixth of what an agent imports,
        # and reads the metadata of every package there is. A hundred agents start at once.
        from importlib.metadata import entry_points

        group = "narrows." + self.kind.replace(" ", "_")
        for entry in sorted(entry_points(group=group), key=lambda found: found.name):
            entry.load()
