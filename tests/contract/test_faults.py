"""What every action on a lab promises; a new one is tested here by being registered."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from orchestrator.faults.base import FAULTS, Fault, FaultError, Lasting, LinkFault
from orchestrator.results import Verdict
from orchestrator.topology.load import parse
from orchestrator.topology.planning import make_plan
from orchestrator.topology.schema_file import json_schema
from orchestrator.topology.timeline import steps_of, view_of
from tests.support.command import ROOT
from tests.support.experiments import event_of, simulate

#: A lab in which every action's example makes sense.
LAB = """
name: everything
time-limit: 10s
topology:
  defaults: {netem: {delay: 2ms, rate: 10Mbit, loss: 0.1%}}
  nodes: {a: {}, n: {kind: nat}, b: {}}
  links:
    - endpoints: ["a:eth1", "n:eth1"]
    - endpoints: ["n:eth2", "b:eth1"]
workloads:
  film: {kind: bulk, from: a, to: b, size: 200kB, on-crash: restart}
"""
#: What must have happened before some of them.
BEFORE = {
    "heal": '{at: 50ms, cut: ["b:eth1"]}',
    "enable": '{at: 50ms, disable: {link: "b:eth1"}}',
    "restart": "{at: 50ms, crash: b}",
}


@pytest.fixture(params=FAULTS.names())
def kind(request: pytest.FixtureRequest) -> type[Fault]:
    return FAULTS[request.param]


def timeline(kind: type[Fault]) -> str:
    lasts = "" if kind.lasting is Lasting.NEVER else ", for: 100ms"
    before = f"  - {BEFORE[kind.name]}\n" if kind.name in BEFORE else ""
    return f"{LAB}timeline:\n{before}  - {{at: 100ms, {kind.name}: {kind.example}{lasts}}}\n"


def test_has_a_name_and_a_summary_that_the_schema_shows(kind: type[Fault]) -> None:
    assert FAULTS[kind.name] is kind
    assert kind.summary.endswith(".")
    entry = json_schema()["$defs"]["TimelineEntry"]["properties"][kind.name]
    assert entry["description"] == kind.summary


def test_example_runs_begins_and_ends_on_time(kind: type[Fault], tmp_path: Path) -> None:
    result = simulate(timeline(kind), tmp_path)
    begun = event_of(result, kind.name)
    assert (begun.at, begun.outcome) == (100_000_000, "done"), begun.detail
    if kind.lasting is not Lasting.NEVER:
        ended = event_of(result, kind.name, "ends")
        assert ended.outcome == "done", ended.detail
        assert ended.at is not None
        assert ended.at <= 200_000_000
    assert result.verdict is Verdict.PASS, result.reasons


def test_arguments_are_plain_data_and_say_what_they_concern(kind: type[Fault]) -> None:
    topology = parse(timeline(kind).encode(), file="test")
    plan = make_plan(topology)
    step = steps_of(plan.timeline, view_of(plan), limit=plan.time_limit)[-1]
    assert str(step.fault)
    assert step.fault.lane()
    assert yaml.safe_load(yaml.safe_dump(topology.timeline[-1].value)) == topology.timeline[-1].value


def test_holds_the_same_thing_only_once_at_a_time(kind: type[Fault]) -> None:
    if kind.lasting is Lasting.NEVER:
        return
    again = timeline(kind) + f"  - {{at: 150ms, {kind.name}: {kind.example}, for: 100ms}}\n"
    with pytest.raises(Exception, match="is still held by the entry in line"):
        parse(again.encode(), file="test")


def test_unknown_names_are_refused_with_advice(kind: type[Fault]) -> None:
    view = view_of(make_plan(parse(LAB.encode(), file="test")))
    value = yaml.safe_load(kind.example.replace("b:eth1", "x:eth9").replace("a:eth1", "x:eth9"))
    if value == yaml.safe_load(kind.example):
        value = _renamed(value)
    with pytest.raises(FaultError) as caught:
        kind(value if not isinstance(value, str) else [value], view)
    assert caught.value.advice


def test_never_looks_at_a_clock_or_a_socket(kind: type[Fault]) -> None:
    source = inspect.getsource(inspect.getmodule(kind))  # type: ignore[arg-type]
    for word in ("import asyncio", "import time", "import socket", "orchestrator.backends"):
        assert word not in source


def test_link_faults_leave_alone_what_they_do_not_concern() -> None:
    assert {name for name in FAULTS if issubclass(FAULTS[name], LinkFault)} == {
        "cut",
        "disable",
        "flap",
        "one-way-cut",
        "partition",
        "set",
    }


def test_documents_have_a_row_for_it(kind: type[Fault]) -> None:
    text = (ROOT / "docs" / "topology-language.md").read_text(encoding="utf-8")
    assert f"`{kind.name}`" in text


def _renamed(value: object) -> object:
    """Return the value with every name in it changed."""
    if isinstance(value, str):
        return "nobody" if not value[0].isdigit() else value
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _renamed(item) for key, item in value.items()}
    return value
