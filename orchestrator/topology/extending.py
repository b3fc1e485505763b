"""``extends: base.lab.yml``: what the files before say, this one changes key by key.

Mappings are merged, the lists of links, expectations, flows and faults are joined (the base's first),
anything else is replaced. A file may extend several, the later over the earlier, and these may extend others.
"""

from __future__ import annotations

from pathlib import Path as FilePath

from orchestrator.topology.document import Document, Path, Place, Value, read_document
from orchestrator.topology.errors import Problem, TopologyError

KEY = "extends"
#: Files one after the other, each extending the next; and files of one topology in all.
MAX_DEPTH, MAX_FILES = 8, 32
#: Lists that are joined; others are replaced whole.
_JOINED: tuple[Path, ...] = (("topology", "links"), ("expect",), ("timeline",), ("workloads",))


def extend(document: Document, directory: FilePath | None) -> Document:
    """Return ``document`` over the files that it extends, or as it is if it extends none.

    Args:
        document: what was read.
        directory: where its names of files start; None: no files are read.
    """
    own = () if directory is None else ((directory / FilePath(document.file).name).resolve(),)
    return _Extender(document).over_bases(document, 0, directory, own)


class _Extender:
    """Reads the files that a topology is made of, all of them into one document's problems."""

    def __init__(self, root: Document) -> None:
        self._root = root

    def over_bases(
        self, document: Document, source: int, directory: FilePath | None, chain: tuple[FilePath, ...]
    ) -> Document:
        """Return ``document``, which is file ``source``, merged over all that it extends."""
        if KEY not in document.data:
            return document
        named = document.data.pop(KEY)
        names = named if isinstance(named, list) else [named]
        merged: Document | None = None
        for index, name in enumerate(names):
            path: Path = (KEY, index) if isinstance(named, list) else (KEY,)
            place = document.place(path)
            base = self._base(name, place, directory, chain)
            if base is not None:
                merged = base if merged is None else self._merged(merged, base)
        result = document if merged is None else self._merged(merged, document)
        if source == 0:
            result.file, result.text, result.more = self._root.file, self._root.text, self._root.more
            result.problems = self._root.problems
            result.partial = self._root.partial
            result.baseless = self._root.baseless
            result.directories = self._root.directories
        return result

    def _base(
        self, name: Value, place: Place, directory: FilePath | None, chain: tuple[FilePath, ...]
    ) -> Document | None:
        if not isinstance(name, str) or not name:
            self._refuse(place, f"extends: found {name!r}", "write the name of a topology file")
            return None
        if directory is None:
            self._refuse(place, f"{name!r} cannot be looked for here", "give the topology as a file")
            return None
        path = directory / name
        real = path.resolve()
        if real in chain:
            self._refuse(place, f"{name!r} extends itself", "break the circle: take one extends: out")
            return None
        if len(chain) > MAX_DEPTH:
            message = f"{name!r} is more than {MAX_DEPTH} files deep"
            self._refuse(place, message, "extend fewer files one after the other")
            return None
        if len(self._root.more) >= MAX_FILES:
            self._refuse(place, f"more than {MAX_FILES} files in one topology", "join some of them")
            return None
        return self._read(path, FilePath(self._root.name_of(place.source)).parent / name, place, chain)

    def _read(
        self, path: FilePath, called: FilePath, place: Place, chain: tuple[FilePath, ...]
    ) -> Document | None:
        root, source, note = self._root, len(self._root.more) + 1, f"extended from {self._root.shown(place)}"
        try:
            content = path.read_bytes()
        except OSError as error:
            advice = "names start at the directory of the file that they stand in"
            self._refuse(place, f"{str(called)!r} cannot be read: {error.strerror}", advice)
            return None
        try:
            found = read_document(content, str(called))
        except TopologyError as error:
            root.more.append((str(called), error.sources[0][1]))
            root.directories.append(path.parent)
            root.problems += [
                Problem(one.line, one.column, one.message, (*one.advice, note, *place.notes), source)
                for one in error.problems
            ]
            root.partial = root.baseless = True
            return None
        root.more.append((str(called), found.text))
        root.directories.append(path.parent)
        for places in (found.values, found.keys):
            for key, at in places.items():
                places[key] = Place(at.line, at.column, source, (*at.notes, note, *place.notes))
        return self.over_bases(found, source, path.parent, (*chain, path.resolve()))

    def _refuse(self, place: Place, message: str, advice: str) -> None:
        """Report what is wrong with a name of a file; what it would have brought is missing."""
        root = self._root
        root.problems.append(Problem(place.line, place.column, message, (advice, *place.notes), place.source))
        root.partial = root.baseless = True

    def _merged(self, base: Document, over: Document) -> Document:
        merged = Document(over.file, over.text)
        merged.data = self._mapping(merged, base, over, (), base.data, over.data)
        return merged

    def _mapping(
        self,
        merged: Document,
        base: Document,
        over: Document,
        path: Path,
        below: dict[str, Value],
        above: dict[str, Value],
    ) -> dict[str, Value]:
        """Return two mappings as one; all three documents have them at the same path."""
        _note(merged, over, path, path)
        built: dict[str, Value] = {}
        for key in (*below, *(key for key in above if key not in below)):
            here, old, new = (*path, key), below.get(key), above.get(key)
            if key not in above or (new is None and old is not None):
                built[key] = _copy(merged, base, here, here, old)
            elif isinstance(old, dict) and isinstance(new, dict):
                built[key] = self._mapping(merged, base, over, here, old, new)
            elif isinstance(old, list) and isinstance(new, list) and here in _JOINED:
                built[key] = self._joined(merged, base, over, here, old, new)
            else:
                if here in _JOINED and isinstance(old, dict | list) and isinstance(new, dict | list):
                    self._refuse(
                        over.place(here),
                        f"{key} is written in two ways",
                        f"write {key} as the base file does",
                    )
                built[key] = _copy(merged, over, here, here, new)
        return built

    def _joined(
        self, merged: Document, base: Document, over: Document, path: Path, old: list[Value], new: list[Value]
    ) -> list[Value]:
        _note(merged, over, path, path)
        first = [_copy(merged, base, (*path, n), (*path, n), item) for n, item in enumerate(old)]
        then = [_copy(merged, over, (*path, n), (*path, len(old) + n), item) for n, item in enumerate(new)]
        return first + then


def _note(into: Document, of: Document, there: Path, here: Path) -> None:
    """Take over where a value and its key stand."""
    for found, places in ((into.values, of.values), (into.keys, of.keys)):
        if there in places:
            found[here] = places[there]


def _copy(into: Document, of: Document, there: Path, here: Path, value: Value) -> Value:
    """Return a value, and note where it and all below it stand."""
    _note(into, of, there, here)
    if isinstance(value, dict):
        return {key: _copy(into, of, (*there, key), (*here, key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(into, of, (*there, n), (*here, n), item) for n, item in enumerate(value)]
    return value
