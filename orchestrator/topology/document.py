"""YAML to plain data that remembers where everything stood.

YAML 1.2's core scalars only: ``no`` is a word, not False, and ``010`` is ten. Duplicate keys, tags,
several documents and alias bombs are refused. Keys stay as written, always strings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from orchestrator.topology.bounded_yaml import MAX_DEPTH, BoundedComposer, TooDeepError
from orchestrator.topology.errors import Problem, TopologyError
from orchestrator.topology.fast_yaml import compose_fast

#: A lab of 10,000 nodes fits; nobody writes more by hand.
MAX_BYTES = 4 * 1024 * 1024
#: Files of so many characters are read by libyaml where it is there, in a fifth of the time.
FAST_FROM = 100_000
#: Values after aliases are replaced by what they stand for: bounds the "billion laughs". A value takes a byte
#: or more where it is written out, so a long file may have more of them than a short one.
MAX_VALUES, VALUES_FOR_ALIASES, VALUES_PER_CHARACTER = 500_000, 25_000, 4

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
Path: TypeAlias = tuple[str | int, ...]

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
_DEFAULT_TAGS = {
    ScalarNode: BaseResolver.DEFAULT_SCALAR_TAG,
    SequenceNode: BaseResolver.DEFAULT_SEQUENCE_TAG,
    MappingNode: BaseResolver.DEFAULT_MAPPING_TAG,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something starts: line and column from 1, in one of the document's files."""

    line: int
    column: int
    #: Index into ``Document.sources``.
    source: int = 0
    #: How what stands there came to matter, for messages: what put it there, what gave it its value.
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Document:
    """The data of a file, and the place of each key and value in it."""

    file: str
    text: str
    data: dict[str, Value] = field(default_factory=dict)
    #: Path → where the value starts.
    values: dict[Path, Place] = field(default_factory=dict)
    #: Path → where the key (or list item) starts.
    keys: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    #: Name and text of the files that this one extends: sources 1, 2, ….
    more: list[tuple[str, str]] = field(default_factory=list)
    #: Where names of files start in each of them.
    directories: list[FilePath] = field(default_factory=list)
    #: Path of something that was made (a generated node, a flow of many) → path of what it was made from.
    origins: dict[Path, Path] = field(default_factory=dict)
    #: Name of an entry that became many flows → their names.
    flow_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Paths whose values could not be made: what is said about them was said already.
    doubtful: set[Path] = field(default_factory=set)
    #: Something could not be made, so names may be missing that nobody should be blamed for.
    partial: bool = False
    #: A file that it extends could not be taken: keys may be missing that nobody should be blamed for.
    baseless: bool = False

    def report(self, path: Path, message: str, *advice: str, key: bool = False) -> None:
        """Note a problem at a value (or its key), or at the nearest thing around it that exists."""
        if self.doubtful and any(path[:length] in self.doubtful for length in range(len(path) + 1)):
            return
        place = self.place(path, key=key)
        self.problems.append(
            Problem(place.line, place.column, message, (*advice, *place.notes), place.source)
        )

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Return where ``path`` stands in the file, or what it was made from."""
        path = self._origin(path)
        places = self.keys if key else self.values
        while path and path not in places:
            path, places = path[:-1], self.keys
        return places.get(path, Place(1, 1))

    def directory_of(self, path: Path, directory: FilePath) -> FilePath:
        """Return the directory of the file that ``path`` stands in; ``directory`` is that of the first."""
        source = self.place(path).source
        return directory if source == 0 else self.directories[source - 1]

    def shown(self, place: Place) -> str:
        """Return a place as messages write it: ``lab.yml:3:7``."""
        return f"{self.name_of(place.source)}:{place.line}:{place.column}"

    def name_of(self, source: int) -> str:
        """Return the name of one of the files, as the user or another file calls it."""
        return self.file if source == 0 else self.more[source - 1][0]

    def has(self, path: Path) -> bool:
        """Return whether there is something at ``path`` in the data."""
        value: Value = self.data
        for step in path:
            inside = isinstance(value, list) and isinstance(step, int) and step < len(value)
            if not inside and not (isinstance(value, dict) and step in value):
                return False
            value = value[step]  # type: ignore[index]
        return True

    def raise_problems(self) -> None:
        """Raise TopologyError if anything has been reported."""
        if self.problems:
            raise TopologyError(self.file, self.text, self.problems, self.more)

    def _origin(self, path: Path) -> Path:
        for length in range(len(path), 0, -1) if self.origins else ():
            origin = self.origins.get(path[:length])
            if origin is not None:
                return (*origin, *path[length:])
        return path


def read_document(content: bytes, file: str) -> Document:
    """Return the document in ``content``.

    Args:
        content: the file's bytes.
        file: its name, for messages.

    Raises:
        TopologyError: it is not one well-formed YAML mapping; every problem found is in it.
    """
    document = Document(file, _decode(content, file))
    node = _compose(document)
    if node is None or (isinstance(node, ScalarNode) and node.value == ""):
        document.report((), "the file is empty", "start with 'name: my-lab' and 'topology:'")
    elif not isinstance(node, MappingNode):
        document.report((), f"a topology is a mapping, found {_kind(node)}", "start with 'name: my-lab'")
    else:
        built = _Builder(document).build(node)
        assert isinstance(built, dict)
        document.data = built
    document.raise_problems()
    return document


def _decode(content: bytes, file: str) -> str:
    if len(content) > MAX_BYTES:
        problem = Problem(1, 1, f"the file has {len(content)} bytes, more than {MAX_BYTES}", ("split it",))
        raise TopologyError(file, "", [problem])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        text = content.decode("utf-8", "replace")
        message = f"the file is not UTF-8: byte 0x{content[error.start]:02x}"
        raise TopologyError(file, text, [Problem(line, column, message, ("save it as UTF-8",))]) from None


class _Loader(Reader, Scanner, Parser, BoundedComposer, BaseResolver):
    """Composes nodes, without YAML 1.1's guesses and with a bound on depth."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        BoundedComposer.__init__(self)
        BaseResolver.__init__(self)


def _compose(document: Document) -> Node | None:
    if len(document.text) >= FAST_FROM:
        node = compose_fast(document.text)
        if node is not None:
            return node
    try:
        return _Loader(document.text).get_single_node()
    except ReaderError as error:
        before = document.text[: error.position]
        column = len(before) - (before.rfind("\n") + 1) + 1
        character = error.character if isinstance(error.character, int) else ord(error.character)
        message = f"the character U+{character:04X} cannot stand in YAML"
        problem = Problem(before.count("\n") + 1, column, message, ("take it out",))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.context_mark is not None and "end of stream" in (error.problem or ""):
            # Where the file ends says nothing; where the quote or bracket was opened does.
            mark = error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        problem = Problem(
            line,
            column,
            what if isinstance(error, TooDeepError) else f"not YAML: {what}",
            _syntax_advice(error),
        )
    raise TopologyError(document.file, document.text, [problem])


def _syntax_advice(error: yaml.MarkedYAMLError) -> tuple[str, ...]:
    problem = error.problem or ""
    if "'\\t'" in problem:
        return ("indent with spaces: YAML does not allow tabs there",)
    if "undefined alias" in problem:
        return ("define it before with &name",)
    if "mapping values are not allowed" in problem:
        return ("put text with ': ' in it into quotes, and check the indentation",)
    if "document" in problem:
        return ("one file holds one topology: remove the second '---'",)
    if isinstance(error, TooDeepError):
        return ("a topology has at most seven levels",)
    opened = error.context_mark
    if opened is not None and "flow" in (error.context or ""):
        return (f"close the bracket that was opened at {opened.line + 1}:{opened.column + 1}",)
    if opened is not None and "end of stream" in problem:
        return ("close the quote that was opened here",)
    return ("check quotes, brackets and indentation around here",)


class _Builder:
    """Turns nodes into data and notes the places."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._limit = min(MAX_VALUES, VALUES_FOR_ALIASES + VALUES_PER_CHARACTER * len(document.text))

    def build(self, node: Node, path: Path = ()) -> Value:
        """Return the node's data."""
        self._count += 1
        mark = node.start_mark
        self._document.values[path] = Place(mark.line + 1, mark.column + 1)
        if self._count > self._limit or len(path) > MAX_DEPTH:
            self._document.report(path, "aliases expand to too much", "write the values out")
            self._document.raise_problems()
        if node.tag != _DEFAULT_TAGS[type(node)] and node.tag != "!":
            self._document.report(path, f"tags are not allowed, found {node.tag!r}", "take it out")
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return self._sequence(node.value, path)
        assert isinstance(node, ScalarNode)
        return str(node.value) if node.style else core_scalar(node.value)

    def _sequence(self, items: Sequence[Node], path: Path) -> list[Value]:
        for index, item in enumerate(items):
            self._document.keys[(*path, index)] = Place(item.start_mark.line + 1, item.start_mark.column + 1)
        return [self.build(item, (*path, index)) for index, item in enumerate(items)]

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Value]:
        built: dict[str, Value] = {}
        for key_node, value_node in node.value:
            place = Place(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, ScalarNode):
                message = f"a key must be a word, found {_kind(key_node)}"
                self._document.problems.append(Problem(place.line, place.column, message, ("write a word",)))
                continue
            key = str(key_node.value)
            if key in built:
                first = self._document.keys[(*path, key)]
                advice = f"the first is in line {first.line}: keep one of them"
                self._document.problems.append(
                    Problem(place.line, place.column, f"key {key!r} is given twice", (advice,))
                )
                continue
            self._document.keys[(*path, key)] = place
            built[key] = self.build(value_node, (*path, key))
        return built


def core_scalar(text: str) -> Scalar:
    """Return what a plain scalar means in YAML 1.2's core schema."""
    if _NULL.fullmatch(text):
        return None
    boolean = _BOOL.fullmatch(text)
    if boolean:
        return boolean.group(1) is not None
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _kind(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else repr(node.value)
