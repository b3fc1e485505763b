"""YAML as we read it: 1.2's core scalars, every place remembered, nothing unbounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.topology.document import FAST_FROM, MAX_BYTES, Place, core_scalar, read_document
from orchestrator.topology.errors import Problem, TopologyError
from orchestrator.topology.fast_yaml import compose_fast


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("NO", "NO"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-3", -3),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("20ms", "20ms"),
        ("1%", "1%"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    found = core_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_keys_stay_as_written() -> None:
    document = read_document(b"no: a\n1: b\n0x10: c\n", "lab.yml")
    assert list(document.data) == ["no", "1", "0x10"]


def test_quotes_make_text() -> None:
    assert read_document(b"a: '7'\nb: \"true\"\nc: 7\n", "lab.yml").data == {"a": "7", "b": "true", "c": 7}


def test_places_of_keys_and_values_are_known() -> None:
    document = read_document(b"top:\n  - name: x\n    b: [1, 2]\n", "lab.yml")
    assert document.place(("top", 0, "b"), key=True) == Place(3, 5)
    assert document.place(("top", 0, "b", 1)) == Place(3, 12)
    assert document.place(("top", 0, "missing")) == Place(2, 5)


def test_aliases_stand_for_what_they_name() -> None:
    assert read_document(b"a: &x {k: 1}\nb: *x\n", "lab.yml").data == {"a": {"k": 1}, "b": {"k": 1}}


def test_a_byte_order_mark_is_not_part_of_the_first_key() -> None:
    assert read_document(b"\xef\xbb\xbfname: lab\n", "lab.yml").data == {"name": "lab"}


def test_a_file_of_any_size_is_refused_before_it_is_read() -> None:
    with pytest.raises(TopologyError, match="more than"):
        read_document(b"#" * (MAX_BYTES + 1), "lab.yml")


def problems_of(content: bytes) -> tuple[Problem, ...]:
    """Return what is wrong with a file; any exception but TopologyError fails the test."""
    try:
        read_document(content, "lab.yml")
    except TopologyError as error:
        return error.problems
    return ()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert all(problem.line >= 1 for problem in problems_of(content))


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t~<0", max_size=60))
def test_any_yaml_like_text_is_read_or_refused(text: str) -> None:
    assert all(problem.line >= 1 for problem in problems_of(text.encode()))


def padded(text: str) -> bytes:
    """Return a file that is long enough for the fast reader."""
    return (text + "#" * FAST_FROM + "\n").encode()


MIXED = """\
name: "7"
a: [1, '2', {b: ~, c: é}]
&k d: &v {e: "x
  y", f: 1.5}
i: |
  text
g: *v
? h
: no
"""


def test_long_files_mean_what_short_ones_do() -> None:
    long, short = read_document(padded(MIXED), "lab.yml"), read_document(MIXED.encode(), "lab.yml")
    assert compose_fast(padded(MIXED).decode()) is not None
    assert (long.data, long.values, long.keys) == (short.data, short.values, short.keys)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1\n",
        "a: *x\n",
        "a: 1\na: 2\n",
        "a: !t 1\n",
        "a: &x [*x]\n",
        f"a: {'[' * 40}{']' * 40}\n",
        f"a: {'[' * 5000}\n",
        f"a: {'[' * 100_000}\n",
        "a: 1\n---\nb: 2\n",
        "- 1\n",
        "",
    ],
)
def test_long_files_are_refused_in_the_words_of_short_ones(text: str) -> None:
    def said(content: bytes) -> list[str]:
        with pytest.raises(TopologyError) as caught:
            read_document(content, "lab.yml")
        return [problem.message for problem in caught.value.problems]

    assert said(padded(text)) == said(text.encode())
