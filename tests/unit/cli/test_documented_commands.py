"""Each command line that the documentation shows is one that narrows understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from node.links.impairments.base import IMPAIRMENTS
from orchestrator.cli.main import main
from orchestrator.topology.errors import TopologyError
from orchestrator.topology.expectations import EXPECTATION_KINDS
from orchestrator.topology.load import parse
from orchestrator.topology.schema import Transport

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", ROOT / "topologies" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
#: What shows as a word where one's own is to be put in.
_VERBS_ONLY = re.compile(r"[A-Z]+")


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield (page and line, words after ``narrows``) of blocks of commands and of words in code type."""
    for page in PAGES:
        if "decisions" in page.parts:
            continue
        block = ""
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            if line.startswith("```"):
                block = "" if block else line[3:] or "text"
                continue
            found = (
                [line] if block in ("sh", "console") else re.findall(r"`([^`]+)`", line) if not block else []
            )
            for text in found:
                match = re.match(r"(?:\$ )?(?:sudo )?(?:\.venv/bin/)?narrows( .*)?$", text)
                if match is not None:
                    words = shlex.split((match[1] or "").partition(" | ")[0], comments=True)
                    yield f"{page.relative_to(ROOT)}:{number}", words


LINES = list(command_lines())


@pytest.mark.parametrize("words", [words for _, words in LINES], ids=[place for place, _ in LINES])
def test_verb_and_options_are_there(words: list[str]) -> None:
    command: click.Command = main
    context = click.Context(main, **main.context_settings)
    while isinstance(command, click.Group) and words and not _VERBS_ONLY.fullmatch(words[0]):
        if words[0].startswith("-"):
            break
        found = command.get_command(context, words[0])
        assert found is not None, f"no verb is called {words[0]}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context)
    if not isinstance(command, click.Group):
        command.make_parser(context).parse_args([word for word in words if word != "…"])


def test_commands_are_found_in_the_documentation() -> None:
    assert len(LINES) > 40
    assert {place.partition(":")[0] for place, _ in LINES} > {
        "README.md",
        "docs/captures.md",
        "docs/command-line.md",
    }


def test_the_mistakes_of_the_documentation_are_answered_as_it_says() -> None:
    page = (ROOT / "docs" / "topology-language.md").read_text(encoding="utf-8")
    file = """name: bad
topology:
  nodes:
    lisbon: {kind: hots}
    paris: {kind: router}
  links:
    - endpoints: ["lisbon:eth1", "pariss:eth1"]
      netem: {delay: 20, rate: 10mbps}
"""
    with pytest.raises(TopologyError) as raised:
        parse(file.encode(), file="bad.lab.yml")
    assert str(raised.value) in page


def test_the_page_of_the_language_names_everything() -> None:
    page = (ROOT / "topologies" / "README.md").read_text(encoding="utf-8")
    options = [field.alias or name for name, field in Transport.model_fields.items()]
    missing = [
        word for word in (*options, *IMPAIRMENTS.names(), *EXPECTATION_KINDS) if f"`{word}`" not in page
    ]
    assert not missing


def test_every_verb_has_its_line() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    verbs = main.list_commands(click.Context(main))
    assert not [verb for verb in verbs if not re.search(rf"^\| `{verb}\b", page, re.MULTILINE)]
