"""The cells of `narrows matrix`: topologies × settings × transports × back ends, each several times."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import NotSupportedError
from orchestrator.experiment.cell_table import Table
from orchestrator.experiment.cells import CellResult, volume_of
from orchestrator.topology.document import read_document
from orchestrator.topology.errors import TopologyError
from orchestrator.topology.load import load
from orchestrator.topology.model import Topology
from orchestrator.topology.overriding import override_transport
from orchestrator.topology.structure import check_structure

_VERSION = 1
#: A topology of one flow, to see whether a setting is one.
_ANY_FLOW = b"""
name: any
topology: {nodes: {a: {}, b: {}}, links: [{endpoints: ["a:eth1", "b:eth1"]}]}
workloads: {f: {kind: bulk, from: a, to: b, size: 1B}}
"""


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One combination."""

    #: The topology's file, and what tables call it.
    file: str
    label: str
    backend: str
    #: ``--set`` and ``--with``, by name.
    parameters: Mapping[str, str]
    transport: Mapping[str, str]
    repeats: int = 1
    volume: int = 0

    @property
    def row(self) -> str:
        """Its row: topology, parameters and back end."""
        words = [self.label]
        words += [f"{name}={value}" for name, value in self.parameters.items()]
        return " ".join([*words, *([self.backend] if self.backend != "auto" else [])])

    @property
    def column(self) -> str:
        """Its column: settings of the transport."""
        return (
            " ".join(
                value if name in ("protocol", "congestion") else f"{name}={value}"
                for name, value in self.transport.items()
            )
            or "as written"
        )

    def prepared(self) -> tuple[Topology, tuple[str, ...]]:
        """Return what runs.

        Raises:
            NotSupportedError: the file is right, but not with these settings of the transport.
            TopologyError: the file is not valid.
        """
        try:
            return load(self.file, self.parameters, transport=self.transport), ()
        except TopologyError as error:
            if not self.transport:
                raise
            load(self.file, self.parameters)
            raise NotSupportedError("; ".join(problem.message for problem in error.problems)) from error

    def judged(self, result: CellResult) -> CellResult:
        """Return the result as it is."""
        return result


def cells_of(
    files: Sequence[str],
    backends: Sequence[str],
    parameters: Mapping[str, Sequence[str]],
    transport: Mapping[str, Sequence[str]],
    *,
    repeats: int | None = None,
) -> list[MatrixCell]:
    """Return every combination, row by row.

    Args:
        repeats: of each; None: as its topology says.
    """
    found = {file: _told(file) for file in files}
    names = Counter(map(_name, found))
    return [
        MatrixCell(
            file,
            # Two files of one name in two directories are two rows.
            _name(file) if names[_name(file)] == 1 else file,
            backend,
            dict(zip(parameters, values, strict=True)),
            dict(zip(transport, words, strict=True)),
            repeats or found[file][0],
            found[file][1],
        )
        for file in found
        for values in itertools.product(*parameters.values())
        for backend in backends
        for words in itertools.product(*transport.values())
    ]


def wrong_setting(transport: Mapping[str, Sequence[str]]) -> str | None:
    """Return what is wrong with a setting of the transport whatever the topology; None: nothing.

    Args:
        transport: name of each setting → its values.
    """
    for name, values in transport.items():
        for value in values:
            document = read_document(_ANY_FLOW, "")
            override_transport(document, {name: value})
            check_structure(document)
            for problem in document.problems:
                return "; ".join((problem.message, *problem.advice))
    return None


def _name(file: str) -> str:
    return Path(file).name.removesuffix(".yml").removesuffix(".lab")


def _told(file: str) -> tuple[int, int]:
    """Return how often a file says that it is run, and its volume; its cells tell if it is not valid."""
    try:
        topology = load(file)
    except (TopologyError, OSError):
        return 1, 0
    return topology.repeats, volume_of(topology)


def matrix_json(table: Table[MatrixCell]) -> dict[str, object]:
    """Return a matrix as JSON-able data; docs/command-line.md says what each key is."""
    results = table.results()
    return {
        "version": _VERSION,
        "verdict": table.verdict.value,
        "repeats": max((cell.repeats for cell in table.cells), default=1),
        "cells": [_cell(cell, result) for cell, result in zip(table.cells, results, strict=True)],
        "directory": str(table.directory),
    }


def _cell(cell: MatrixCell, result: CellResult) -> dict[str, object]:
    told, names = result.goodput, ("mean", "low", "high", "median")
    return {
        "row": cell.row,
        "column": cell.column,
        "file": cell.file,
        "backend": cell.backend,
        "parameters": dict(cell.parameters),
        "transport": dict(cell.transport),
        "letter": result.outcome.letter,
        "reasons": list(result.reasons),
        "goodput": None if told is None else dict(zip(names, told, strict=True)),
        "runs": [turn.to_json() for turn in result.turns],
    }
