"""The table in docs/protocol/comparison.md is what the command prints."""

from __future__ import annotations

import re

from tests.architecture.tree import ROOT
from tests.compare.table import LINKS, cell, header, legend, measure, settings

PAGE = (ROOT / "docs/protocol/comparison.md").read_text()
CELL = re.compile(r"\d[\d.e+]* s, \d+%")


def rows() -> dict[str, list[str]]:
    """Return the cells of each row of the page's table."""
    lines = PAGE.splitlines()
    begin = lines.index(header()[1]) + 1
    found = [
        [part.strip() for part in line.strip("|").split("|")] for line in lines[begin:] if line[:1] == "|"
    ]
    return {row[0]: row[1:] for row in found}


def test_the_page_has_the_commands_links_settings_and_form() -> None:
    for line in (*legend(), *header()):
        assert line in PAGE
    assert list(rows()) == [setting.name for setting in settings()]
    for cells in rows().values():
        assert len(cells) == len(LINKS)
        assert all(CELL.fullmatch(found) for found in cells), cells


def test_a_cell_that_is_measured_again_is_the_pages() -> None:
    """Stop-and-wait is quick to measure; where it changed, run the command again: ``make compare``."""
    setting = next(found for found in settings() if found.name == "stop-and-wait")
    link = next(found for found in LINKS if found.name == "thin")
    assert cell(link, measure(link, setting)) == rows()[setting.name][LINKS.index(link)]
