"""docs/wire-truth.md says of every requirement whether the wire probe checks it, and tells the truth."""

from __future__ import annotations

import os

from tests.architecture.tree import ROOT
from tests.compliance.requirements import SPEC, requirements
from tests.compliance.wire_truth import BEGIN, END, PAGE, checked, named, table

#: As many as there were when the table was first drawn: none is dropped unseen.
FEWEST = 75


def test_the_page_has_the_table_of_the_probes_own_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    wanted = before + BEGIN + table() + END + after
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(wanted, encoding="utf-8")
    assert page == wanted, "make it anew: UPDATE_GOLDEN=1 python -m pytest tests/compliance"


def test_the_probe_names_no_requirement_that_there_is_not() -> None:
    assert named() <= requirements((ROOT / SPEC).read_text(encoding="utf-8")).keys()


def test_no_check_is_lost() -> None:
    assert len(checked()) >= FEWEST
