"""What `--help` says, of the command and of every verb: a file each, reviewed as code."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli.main import main, short_help
from tests.golden import golden

VERBS = main.list_commands(click.Context(main))


def _pages(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _pages(found, (*words, name))


PAGES = list(_pages(main))


def help_of(*words: str) -> str:
    result = CliRunner().invoke(main, [*words, "--help"], prog_name="narrows", terminal_width=100)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("words", PAGES, ids=lambda words: "-".join(words) or "narrows")
def test_help_is_as_reviewed(words: tuple[str, ...]) -> None:
    golden.check(f"help/{'-'.join(words) or 'narrows'}.txt", help_of(*words))


@pytest.mark.parametrize("verb", VERBS)
def test_verb_is_listed_with_the_first_line_of_its_module(verb: str) -> None:
    assert short_help(verb).endswith(".")
    assert any(line.strip().startswith(f"{verb} ") for line in help_of().splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_verb_is_called_as_its_file(verb: str) -> None:
    command = main.get_command(click.Context(main), verb)
    assert command is not None
    assert command.name == verb
