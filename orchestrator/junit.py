"""Runs as JUnit XML, which CI systems read: a suite for each run, a case for each thing that could fail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from node.protocol.time import SECOND
from orchestrator.results import ExpectationResult, RunResult, write_atomically

#: What XML 1.0 cannot hold (section 2.2).
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, runs: Sequence[RunResult], together: Iterable[ExpectationResult] = ()) -> None:
    """Write a file of JUnit XML.

    Args:
        path: the file.
        runs: a suite each.
        together: expectations about all of them: one more suite.

    Raises:
        ResultsError: it cannot be written.
    """
    write_atomically(path, junit(runs, together))


def junit(runs: Sequence[RunResult], together: Iterable[ExpectationResult] = ()) -> str:
    """Return the XML of runs."""
    root = Element("testsuites", name="narrows")
    for run in runs:
        manifest = run.manifest
        suite = _suite(root, f"{manifest.lab} seed {manifest.seed}", _cases(run))
        suite.set("time", f"{run.duration / SECOND:.3f}")
        suite.set("timestamp", manifest.started_at)
        properties = Element("properties")
        told = {
            "backend": manifest.backend,
            "impairment": manifest.impairment,
            "seed": manifest.seed,
            "run_id": manifest.run_id,
            "directory": run.directory,
        }
        for name, value in told.items():
            SubElement(properties, "property", name=name, value=_text(str(value)))
        suite.insert(0, properties)
        SubElement(suite, "system-out").text = _text("\n".join(run.notes))
    judged = list(together)
    if judged:
        _suite(root, "all runs", (_expectation(found) for found in judged))
    for name in ("tests", "failures"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, name: str, cases: Iterable[tuple[str, str, float, str]]) -> Element:
    suite = SubElement(root, "testsuite", name=_text(name))
    found = list(cases)
    for case, of, seconds, failure in found:
        element = SubElement(
            suite, "testcase", classname=_text(f"{name}.{of}"), name=_text(case), time=f"{seconds:.3f}"
        )
        if failure:
            SubElement(element, "failure", message=_text(failure)).text = _text(failure)
    suite.set("tests", str(len(found)))
    suite.set("failures", str(sum(bool(failure) for *_, failure in found)))
    suite.set("errors", "0")
    return suite


def _cases(run: RunResult) -> Iterator[tuple[str, str, float, str]]:
    """Yield (case, what it is of, seconds, why it failed)."""
    for flow in run.flows:
        failure = "" if flow.completed or flow.stopped else flow.error or "it did not complete"
        yield "completes", flow.name, flow.seconds, failure
    yield "nothing fails", "the run", 0.0, "\n".join(run.failures)
    if run.calibration.mode == "strict":
        wrong = "\n".join(row.describe() for row in run.calibration.outside)
        yield "links are as asked", "the run", 0.0, wrong
    yield from map(_expectation, run.expectations)


def _expectation(found: ExpectationResult) -> tuple[str, str, float, str]:
    failure = "" if found.passed else f"expected {found.text}, found {found.shown}"
    return found.text, found.flow or "the run", 0.0, failure


def _text(text: str) -> str:
    """Return text as XML can hold it."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
