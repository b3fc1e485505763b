"""``parameters:`` of a template, and ``${name}`` wherever a key or a value stands.

A value that is nothing but ``${name}`` takes the parameter's type; within a longer text it is its text.
Parameters may be made of other parameters. ``$${`` stands for ``${`` itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.topology.document import Document, Path, Place, Scalar, Value, core_scalar
from orchestrator.topology.errors import suggestion

KEY = "parameters"
#: Characters of a value with all its parameters put in: bounds parameters made of parameters made of ….
MAX_TEXT = 1_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}", re.ASCII)
_USE = re.compile(r"\$\$\{|\$\{([^{}]*)(\})?")


class ParameterError(ValueError):
    """``--set`` was given something that is not NAME=VALUE."""


def parse_settings(words: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters of ``--set NAME=VALUE``, given any number of times.

    Raises:
        ParameterError: one is not so written, or given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ParameterError(f"{word!r} sets nothing; write --set NAME=VALUE, as in --set rtt=40ms")
        if name in found:
            raise ParameterError(f"{name!r} is set twice; set it once")
        found[name] = value
    return found


def parameter_texts(values: Mapping[str, str | int | float | bool]) -> dict[str, str]:
    """Return parameters given as plain values as ``substitute`` takes them: as text."""
    return {name: _text(value) for name, value in values.items()}


def substitute(document: Document, settings: Mapping[str, str]) -> None:
    """Put the parameters' values in wherever they are used, and report those that do not fit.

    Args:
        document: changed in place; it has no parameters afterwards.
        settings: values that override the file's, as text (``--set``).
    """
    given = document.data.pop(KEY, None)
    texts = (document.text, *(text for _, text in document.more))
    if given is None and not settings and not any("${" in text for text in texts):
        return
    _Substitution(document, given, settings).run()


class _Substitution:
    """One pass over a document."""

    def __init__(self, document: Document, given: Value, settings: Mapping[str, str]) -> None:
        self._document = document
        self._raw: dict[str, Scalar] = {}
        self._notes: dict[str, str] = {}
        self._values: dict[str, Scalar] = {}
        self._unused: set[str] = set()
        self._failed: set[str] = set()
        self._declare(given)
        for name, text in settings.items():
            if name not in self._raw:
                advice = suggestion(name, self._raw) or ("it has no parameters: take --set out",)
                document.report((), f"--set {name}={text}: there is no parameter {name!r}", *advice)
            self._raw[name], self._notes[name] = core_scalar(text), f"${{{name}}} is {text!r}, from --set"

    def run(self) -> None:
        """Make the data anew."""
        document = self._document
        for name in self._raw:
            self._value(name, ())
        self._unused = set(self._raw) - set(self._used_by_others)
        values, keys = document.values, document.keys
        document.values, document.keys = {}, {}
        document.data = self._mapping(document.data, (), (), values, keys)
        for places, old in ((document.values, values), (document.keys, keys)):
            places.update({path: place for path, place in old.items() if path[:1] == (KEY,)})
        for name in sorted(self._unused):
            if (KEY, name) in keys:
                advice = (f"write ${{{name}}} where it belongs, or take it out", *self._other_names(name))
                document.report((KEY, name), f"parameter {name!r} is used nowhere", *advice, key=True)

    def _other_names(self, name: str) -> tuple[str, ...]:
        others = [other for other in self._raw if other != name]
        return suggestion(name, others)[:1] if len(suggestion(name, others)) > 1 else ()

    def _declare(self, given: Value) -> None:
        document = self._document
        self._used_by_others: set[str] = set()
        if given is not None and not isinstance(given, dict):
            document.report((KEY,), "parameters: must be a mapping", "write parameters: {rtt: 20ms}")
            return
        for name, value in (given or {}).items():
            path: Path = (KEY, name)
            if not _NAME.fullmatch(name):
                document.report(
                    path, f"{name!r} cannot name a parameter", "use letters, digits, _ and -", key=True
                )
                self._used_by_others.add(name)
            if isinstance(value, dict | list):
                document.report(path, f"parameter {name!r} is not one value", "give one text or number")
                self._failed.add(name)
                value = None
            place = document.place(path)
            self._raw[name] = value
            self._notes[name] = f"${{{name}}} is {_text(value)!r}, given in {document.shown(place)}"

    def _value(self, name: str, chain: tuple[str, ...]) -> Scalar:
        """Return a parameter's value, with the parameters in it put in."""
        if name in self._values:
            return self._values[name]
        if name in chain:
            circle = " → ".join((*chain[chain.index(name) :], name))
            self._document.report((KEY, name), f"parameter {name!r} is made of itself: {circle}", "break it")
            self._failed.update(chain)
            return None
        raw = self._raw[name]
        value = raw
        if isinstance(raw, str):
            value = self._put_in(raw, (KEY, name), (*chain, name))[0]
        self._values[name] = value
        return value

    def _put_in(self, text: str, path: Path, chain: tuple[str, ...] = ()) -> tuple[Scalar, tuple[str, ...]]:
        """Return a text with its parameters' values, and a note for each."""
        if "${" not in text:
            return text, ()
        parts: list[str] = []
        notes: list[str] = []
        position = 0
        whole = _USE.fullmatch(text)
        for found in _USE.finditer(text):
            parts.append(text[position : found.start()])
            position = found.end()
            if found[1] is None:
                parts.append("${")
                continue
            name = found[1].strip()
            self._unused.discard(name)
            if chain:
                self._used_by_others.add(name)
            if not self._known(found, name, path):
                # Whatever stands there now, nobody is to complain about it too.
                self._document.doubtful.add(path)
                return None, ()
            value = self._value(name, chain)
            notes.append(self._notes[name])
            if whole is not None:
                return value, tuple(notes)
            parts.append(_text(value))
        joined = "".join((*parts, text[position:]))
        if len(joined) > MAX_TEXT:
            message = f"with its parameters this is longer than {MAX_TEXT} characters"
            self._document.report(path, message, "write shorter values")
            self._document.doubtful.add(path)
            return None, ()
        return joined, tuple(notes)

    def _known(self, found: re.Match[str], name: str, path: Path) -> bool:
        if found[2] is None:
            self._document.report(path, f"{found[0]!r} is not closed", "write ${name}, or $${ for ${ itself")
            return False
        if name not in self._raw:
            advice = suggestion(name, self._raw) or (f"declare it: parameters: {{{name or 'name'}: 20ms}}",)
            self._document.report(path, f"there is no parameter {name!r}", *advice)
            return False
        return name not in self._failed

    def _walk(
        self, value: Value, old: Path, new: Path, values: dict[Path, Place], keys: dict[Path, Place]
    ) -> Value:
        """Return a value with parameters put in; its place goes from path ``old`` to ``new``."""
        document = self._document
        place = values.get(old)
        if place is not None:
            document.values[new] = place
        if isinstance(value, dict):
            return self._mapping(value, old, new, values, keys)
        if isinstance(value, list):
            built: list[Value] = []
            for index, item in enumerate(value):
                document.keys[(*new, index)] = keys.get((*old, index), Place(1, 1))
                built.append(self._walk(item, (*old, index), (*new, index), values, keys))
            return built
        if not isinstance(value, str) or "${" not in value:
            return value
        result, notes = self._put_in(value, new)
        if place is not None and notes:
            document.values[new] = Place(place.line, place.column, place.source, (*place.notes, *notes))
        return result

    def _mapping(
        self,
        mapping: dict[str, Value],
        old: Path,
        new: Path,
        values: dict[Path, Place],
        keys: dict[Path, Place],
    ) -> dict[str, Value]:
        document = self._document
        if old in values:
            document.values[new] = values[old]
        built: dict[str, Value] = {}
        for key, item in mapping.items():
            there, place = (*old, key), keys.get((*old, key), Place(1, 1))
            document.keys[(*new, key)] = place
            word, notes = self._put_in(key, (*new, key)) if "${" in key else (key, ())
            name = _text(word)
            if word is None:
                document.partial = True
            if name != key:
                del document.keys[(*new, key)]
            document.keys[(*new, name)] = Place(
                place.line, place.column, place.source, (*place.notes, *notes)
            )
            if name in built:
                document.report((*new, name), f"key {name!r} is given twice", "keep one of them", key=True)
            built[name] = self._walk(item, there, (*new, name), values, keys)
        return built


def _text(value: Scalar) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
