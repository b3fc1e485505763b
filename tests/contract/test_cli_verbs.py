"""What every verb of the command line keeps; a new one is tested here by its file being there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.main import main
from orchestrator.cli.support.exit_codes import ExitCode
from tests.golden.golden import HERE as GOLDEN
from tests.support.command import ROOT

Words = tuple[str, ...]


def commands(command: click.Command, words: Words = ()) -> Iterator[tuple[Words, click.Command]]:
    """Every verb and every part of a verb, by its words."""
    if words:
        yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*words, name))


COMMANDS = dict(commands(main))
LEAVES = [words for words, found in COMMANDS.items() if not isinstance(found, click.Group)]


def parameters(words: Words) -> dict[str, click.Parameter]:
    """A verb's parameters by name."""
    return {str(parameter.name): parameter for parameter in COMMANDS[words].params}


def narrows(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="narrows")


def said_no(result: Result, code: ExitCode) -> str:
    """What a refused command wrote; on stderr alone, and no traceback."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr
    return result.stderr


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


named = pytest.mark.parametrize("words", LEAVES, ids=" ".join)
reading_topologies = pytest.mark.parametrize(
    "words", [words for words in LEAVES if "file" in parameters(words)], ids=" ".join
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_was_reviewed_and_explains_every_option(words: Words) -> None:
    assert (GOLDEN / "help" / f"{'-'.join(words)}.txt").is_file(), (
        "make it: UPDATE_GOLDEN=1 python -m pytest tests/golden/test_help.py"
    )
    result = narrows(*words, "--help")
    assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
    for parameter in COMMANDS[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@named
def test_an_unknown_option_is_a_usage_error(words: Words) -> None:
    said_no(narrows(*words, "--no-such-option"), ExitCode.USAGE)


@named
def test_an_unknown_form_is_refused_with_those_there_are(words: Words) -> None:
    form = parameters(words).get("form")
    if form is None:
        pytest.skip("it writes in one form only")
    assert isinstance(form.type, click.Choice)
    required = ["x"] * sum(found.required for found in COMMANDS[words].params)
    message = said_no(narrows(*words, *required, form.opts[0], "no-such-form"), ExitCode.USAGE)
    assert all(choice in message for choice in form.type.choices)


@reading_topologies
def test_a_topology_that_is_not_there_is_named(words: Words, tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere.lab.yml")
    assert path in said_no(narrows(*words, path), ExitCode.USAGE)


@reading_topologies
@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\0", b"name: [", b"name: x\ntopology:\n  nodes: {a: {kind: hots}}\n", b"- 1\n", b"\0"],
    ids=["empty", "not-text", "not-yaml", "wrong-kind", "a-list", "nul"],
)
def test_a_topology_that_is_wrong_is_named_and_not_a_crash(
    words: Words, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.lab.yml"
    path.write_bytes(content)
    assert str(path) in said_no(narrows(*words, str(path)), ExitCode.USAGE)


@reading_topologies
def test_a_directory_is_no_topology(words: Words, tmp_path: Path) -> None:
    assert str(tmp_path) in said_no(narrows(*words, str(tmp_path)), ExitCode.USAGE)


@pytest.mark.parametrize("words", [words for words in LEAVES if "lab" in parameters(words)], ids=" ".join)
def test_a_lab_that_is_not_up_is_named(words: Words) -> None:
    lab = parameters(words)["lab"]
    given = [lab.opts[0], "no-such-lab"] if isinstance(lab, click.Option) else ["no-such-lab"]
    needed = [found for found in COMMANDS[words].params if found.required and found is not lab]
    others = ["a:eth1" for found in needed if isinstance(found, click.Argument)]
    others = [
        word for found in needed if isinstance(found, click.Option) for word in (found.opts[0], "-")
    ] + others
    if words in (("perf",), ("ping",)):
        others = ["a", "b"]  # without the lab they take one host, or none
    if words == ("deploy",):
        others = [str(ROOT / "topologies" / "line.lab.yml"), "--dry-run"]
    if words == ("netem", "set"):
        others[-1] = "delay=1ms"
    result = narrows(*words, *given, *others)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.stdout == ""
    if words == ("destroy",):
        # What is not there need not be removed: whoever destroys twice is right.
        assert result.exit_code == ExitCode.OK
        return
    assert result.exit_code != ExitCode.OK
    assert "no-such-lab" in result.stderr
