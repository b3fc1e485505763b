"""The suite of cases: what is a case, what is told of one, and how the command ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.transports.tcp import Tcp
from orchestrator.cli.main import main
from orchestrator.cli.support.exit_codes import ExitCode
from orchestrator.experiment.cases import (
    PORTABLE,
    CaseError,
    Setting,
    find_cases,
    judge_broken,
    prepared,
)
from orchestrator.experiment.cells import CellResult, Outcome
from orchestrator.experiment.expectations import NOT_CHECKED
from orchestrator.results import ExpectationResult
from orchestrator.topology.errors import TopologyError
from orchestrator.topology.expectations import EXPECTATION_KINDS
from orchestrator.topology.model import CaseBreak
from tests.support.table_pages import linked

CASE = """\
name: tiny
description: A file crosses a link.
parameters: {delay: 10ms, transport: strait}
case:
  letter: T
  group: narrows
  breaks: [{set: {delay: 300ms}, misses: "file: completion <= 200ms"}]
topology:
  nodes: {a: {kind: host}, b: {kind: host}}
  links: [{endpoints: ["a:eth1", "b:eth1"], netem: {delay: "${delay}"}}]
workloads:
  file: {kind: bulk, from: a, to: b, size: 1kB, transport: "${transport}"}
expect:
  - handshakes == 1
  - file: completion <= 200ms
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "cases"
    place.mkdir()
    (place / "tiny.lab.yml").write_text(CASE)
    return place


def cases(directory: Path, *arguments: str) -> Result:
    words = ("cases", "--directory", str(directory), "--results", str(directory / "results"))
    return CliRunner().invoke(main, (*words, *arguments), prog_name="narrows")


def test_one_more_file_is_one_more_case(directory: Path) -> None:
    (directory / "second.lab.yml").write_text(CASE.replace("letter: T", "letter: T2"))
    result = cases(directory, "--list", "-f", "json")
    assert result.exit_code == ExitCode.OK
    assert [case["letter"] for case in json.loads(result.stdout)["cases"]] == ["T2", "T"]


def test_a_case_runs_by_its_letter_and_says_what_it_found(directory: Path) -> None:
    result = cases(directory, "T", "-f", "json")
    assert result.exit_code == ExitCode.OK
    (found,) = json.loads(result.stdout)["results"]
    assert (found["case"], found["outcome"], found["impairment"]) == ("tiny", "pass", "simulated")
    assert [each["passed"] for each in found["expectations"]] == [True, True]


def test_a_case_that_fails_says_why_in_words(directory: Path) -> None:
    result = cases(directory, "tiny", "--set", "delay=300ms")
    assert result.exit_code == ExitCode.FAILED
    assert "file: expected completion <= 200ms, found" in result.stdout
    assert "✕(T)" in result.stdout


def test_a_broken_case_passes_when_it_is_noticed(directory: Path) -> None:
    result = cases(directory, "--broken", "-f", "json")
    assert result.exit_code == ExitCode.OK
    (found,) = json.loads(result.stdout)["results"]
    assert found["notes"] == ["delay=300ms: file: completion <= 200ms is missed, as it must"]


def test_a_case_about_strait_alone_is_not_supported_by_another_transport(directory: Path) -> None:
    path = directory / "tiny.lab.yml"
    path.write_text(CASE.replace(", transport: strait}", "}").replace(', transport: "${transport}"', ""))
    result = cases(directory, "--transport", "quic")
    assert result.exit_code == ExitCode.NOT_SUPPORTED
    assert "tiny is about Strait: quic has nothing like it" in result.stdout


def test_what_a_back_end_cannot_do_is_unsupported(directory: Path) -> None:
    result = cases(directory, "--transport", "tcp", "-f", "json")
    assert result.exit_code == ExitCode.NOT_SUPPORTED
    (found,) = json.loads(result.stdout)["results"]
    assert found["outcome"] == "unsupported"
    (why,) = found["reasons"]
    assert why.startswith("back end simulation has no transport tcp; take another with --backend")


def test_another_transport_is_not_held_to_what_is_straits(directory: Path) -> None:
    (case,) = find_cases(directory)
    topology, left = prepared(case, Setting(transport="quic"))
    assert left == ("handshakes == 1",)
    assert [each.text for each in topology.expectations] == ["completion <= 200ms"]
    assert set(EXPECTATION_KINDS) >= PORTABLE


def test_a_case_that_is_not_there_is_named(directory: Path) -> None:
    result = cases(directory, "tinny")
    assert result.exit_code == ExitCode.USAGE
    assert "there is no case 'tinny'; did you mean 'tiny'?" in result.stderr


def test_two_cases_of_one_letter_are_refused(directory: Path) -> None:
    (directory / "other.lab.yml").write_text(CASE)
    with pytest.raises(CaseError, match=r"tiny\.lab\.yml and .*other\.lab\.yml are both called T"):
        find_cases(directory)


def test_a_topology_that_is_no_case_is_refused(directory: Path) -> None:
    text = CASE.replace(CASE[CASE.index("case:") : CASE.index("topology:")], "")
    (directory / "plain.lab.yml").write_text(text)
    with pytest.raises(CaseError, match=r"plain\.lab\.yml is no case: add case:"):
        find_cases(directory)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="holds no cases"):
        find_cases(tmp_path)


def test_a_break_must_name_an_expectation_of_the_file(directory: Path) -> None:
    path = directory / "tiny.lab.yml"
    path.write_text(CASE.replace('misses: "file: completion <= 200ms"', 'misses: "file: completion <= 2s"'))
    with pytest.raises(TopologyError, match="nothing expects 'file: completion <= 2s'"):
        find_cases(directory)


def test_a_broken_case_that_misses_something_else_is_not_noticed() -> None:
    wrong = CaseBreak({"delay": "300ms"}, "file: completion <= 200ms")
    result = CellResult(
        Outcome.FAILED,
        1,
        (),
        expectations=(
            ExpectationResult("handshakes == 1", None, passed=False, measured=0, shown="0"),
            ExpectationResult("completion <= 200ms", "file", passed=True, measured=1e8, shown="100ms"),
        ),
    )
    judged = judge_broken(result, wrong)
    assert judged.outcome is Outcome.FAILED
    assert judged.reasons[0] == (
        "with delay=300ms it had to miss 'file: completion <= 200ms', and missed handshakes == 1"
    )


def with_a_second_connection(directory: Path) -> None:
    """The case's wrong setting is a second connection, which only captures tell of, and only of Strait's."""
    text = CASE.replace('{set: {delay: 300ms}, misses: "file: completion <= 200ms"}', SECOND_CONNECTION)
    text = text.replace("parameters: {", "parameters: {connections: 1, ").replace(
        "size: 1kB", 'size: 1kB, connections: "${connections}"'
    )
    (directory / "tiny.lab.yml").write_text(text)


SECOND_CONNECTION = "{set: {connections: 2}, misses: handshakes == 1}"


def test_what_only_captures_notice_is_not_judged_without_them(directory: Path) -> None:
    with_a_second_connection(directory)
    assert cases(directory, "--broken").exit_code == ExitCode.OK
    result = cases(directory, "--broken", "--no-capture", "-f", "json")
    assert result.exit_code == ExitCode.NOT_SUPPORTED
    (found,) = json.loads(result.stdout)["results"]
    assert found["outcome"] == "unsupported"
    assert found["reasons"] == [
        "with connections=2 it must miss 'handshakes == 1', which is not judged without captures"
    ]


def test_what_is_noticed_without_captures_is_judged_without_them(directory: Path) -> None:
    result = cases(directory, "--broken", "--no-capture")
    assert result.exit_code == ExitCode.OK


def test_another_transport_is_not_held_to_notice_what_is_straits(directory: Path) -> None:
    with_a_second_connection(directory)
    result = cases(directory, "--broken", "--transport", "quic", "-f", "json")
    assert result.exit_code == ExitCode.NOT_SUPPORTED
    (found,) = json.loads(result.stdout)["results"]
    assert found["reasons"] == [
        "with connections=2 it must miss 'handshakes == 1', which is Strait's own, so not judged for quic"
    ]


def test_captures_that_could_not_be_read_notice_nothing() -> None:
    unread = ExpectationResult("handshakes == 1", None, passed=False, measured=None, shown=NOT_CHECKED)
    result = CellResult(Outcome.FAILED, 1, (), ("the captures are broken",), expectations=(unread,))
    judged = judge_broken(result, CaseBreak({"connections": "2"}, "handshakes == 1"))
    assert judged.outcome is Outcome.FAILED
    assert judged.reasons == (
        "with connections=2 it had to miss 'handshakes == 1', and missed nothing",
        "the captures are broken",
    )


def test_what_must_be_missed_may_be_written_as_expectations_may(directory: Path) -> None:
    path = directory / "tiny.lab.yml"
    path.write_text(CASE.replace("completion <= 200ms", "completion<=200ms"))
    assert cases(directory, "--broken").exit_code == ExitCode.OK


def test_the_page_escapes_what_a_topology_says(directory: Path) -> None:
    hostile = "</title><script>alert(1)</script><img src=x onerror=alert(1)>"
    text = CASE.replace("A file crosses a link.", json.dumps(hostile)).replace("delay: 10ms", "delay: 300ms")
    (directory / "<b>&'\".lab.yml").write_text(text.replace("letter: T", "letter: X1"))
    result = cases(directory, "X1", "--resume", str(directory / "kept"))
    assert result.exit_code == ExitCode.FAILED
    page = (directory / "kept" / "cases.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "X1 &lt;b&gt;&amp;&#x27;&quot;" in page
    assert "expected completion &lt;= 200ms" in page


def test_a_case_is_judged_by_the_mean_of_its_runs(directory: Path) -> None:
    path = directory / "tiny.lab.yml"
    text = CASE.replace("  - file: completion", "  - file: mean(completion)")
    path.write_text(text.replace('"file: completion', '"file: mean(completion)') + "repeats: 3\n")
    result = cases(directory, "-f", "json")
    assert result.exit_code == ExitCode.OK
    (found,) = json.loads(result.stdout)["results"]
    assert [run["seed"] for run in found["runs"]] == [1, 2, 3]
    assert found["expectations"][-1]["expectation"] == "mean(completion) <= 200ms"
    assert "95% interval of 3 runs" in found["expectations"][-1]["shown"]
    slow = cases(directory, "--set", "delay=300ms")
    assert slow.exit_code == ExitCode.FAILED
    assert slow.stdout.count("file: expected mean(completion) <= 200ms") == 1
    assert cases(directory, "--broken").exit_code == ExitCode.OK


def test_strict_counts_what_could_not_run_as_a_failure(directory: Path) -> None:
    (directory / "second.lab.yml").write_text(
        CASE.replace("letter: T", "letter: T2")
        .replace(", transport: strait}", "}")
        .replace('"${transport}"', "tcp")
        .replace("  - handshakes == 1\n", "")
    )
    lenient = cases(directory, "--resume", str(directory / "kept"))
    assert lenient.exit_code == ExitCode.OK
    assert "1 of 2 passed, 1 not supported (127)" in lenient.stdout
    assert cases(directory, "--resume", str(directory / "kept"), "--strict").exit_code == ExitCode.FAILED


def test_what_the_kernel_lacks_is_not_supported(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As TCP's BBR, which many kernels do not have: the reason is told, and the totals add up."""
    why = "the kernel lets no socket use TCP congestion control cubic: try modprobe tcp_cubic"
    monkeypatch.setattr(Tcp, "missing", staticmethod(lambda settings: why))
    result = cases(directory, "--backend", "netns", "--transport", "tcp", "-f", "json")
    assert result.exit_code == ExitCode.NOT_SUPPORTED
    told = json.loads(result.stdout)
    assert told["results"][0]["reasons"] == [why]
    assert told["settings"][0]["unsupported"] == sum(told["settings"][0][each.value] for each in Outcome) == 1


def runs_of(directory: Path) -> list[Path]:
    """The runs in the directory of a table: its files are no runs."""
    return sorted(result.parent for result in directory.glob("*/result.json"))


def test_a_suite_that_is_resumed_runs_what_is_not_finished(directory: Path) -> None:
    kept = directory / "kept"
    first = cases(directory, "T", "--resume", str(kept), "-f", "json")
    (before,) = json.loads(first.stdout)["results"]
    (directory / "second.lab.yml").write_text(CASE.replace("letter: T", "letter: T2"))
    again = cases(directory, "--resume", str(kept), "-f", "json")
    assert (first.exit_code, again.exit_code) == (ExitCode.OK, ExitCode.OK)
    _, same = json.loads(again.stdout)["results"]
    assert same == before
    told = [line for line in again.stderr.splitlines() if "finished before" in line]
    assert ["T tiny" in line for line in told] == [True]
    assert len(runs_of(kept)) == 2
    assert json.loads((kept / "cases.json").read_text()) == json.loads(again.stdout)


@pytest.mark.parametrize(
    "changed", [("--seed", "7"), ("--no-capture",), ("--set", "delay=20ms"), ("--repeat", "2"), ("--broken",)]
)
def test_what_is_run_with_other_options_is_not_finished(directory: Path, changed: tuple[str, ...]) -> None:
    kept = directory / "kept"
    cases(directory, "--resume", str(kept))
    cases(directory, "--resume", str(kept), *changed)
    assert len(runs_of(kept)) == 2
    # Both are kept beside each other.
    told = [cases(directory, "--resume", str(kept), *options).stderr for options in ((), changed)]
    assert all("finished before" in line for text in told for line in text.splitlines())
    assert len(runs_of(kept)) == 2


def test_a_turn_that_was_not_kept_whole_or_was_given_up_is_run_again(directory: Path) -> None:
    kept = directory / "kept"
    given_up = cases(directory, "--resume", str(kept), "--limit", "1ms", "-f", "json")
    assert json.loads(given_up.stdout)["results"][0]["outcome"] == "error"
    assert cases(directory, "--resume", str(kept)).exit_code == ExitCode.OK
    (turn,) = (kept / "runs").iterdir()
    for text in ("", turn.read_text()[:-20], "[]", "{}"):
        turn.write_text(text)
        again = cases(directory, "--resume", str(kept), "-f", "json")
        assert again.exit_code == ExitCode.OK
        assert "finished before" not in again.stderr


def test_a_table_that_has_moved_leads_to_its_runs(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are told from where the command ran; the one that goes on may run elsewhere."""
    monkeypatch.chdir(directory)
    assert cases(directory, "--resume", "it's 50% #1?").exit_code == ExitCode.OK
    assert linked(directory / "it's 50% #1?" / "cases.html") == runs_of(directory / "it's 50% #1?")
    other = directory / "other place"
    other.mkdir()
    (directory / "it's 50% #1?").rename(other / 'moved "there"')
    monkeypatch.chdir(other)
    again = cases(directory, "--resume", 'moved "there"', "-f", "json")
    assert "finished before" in again.stderr
    (run,) = runs_of(other / 'moved "there"')
    assert linked(other / 'moved "there"' / "cases.html") == [run]
    assert Path(json.loads(again.stdout)["results"][0]["directory"]).resolve() == run
