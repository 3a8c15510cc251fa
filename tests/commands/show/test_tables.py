"""Tables in a terminal: every name is whole, however narrow the window is."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from commands.console import PlainConsole
from commands.show.tables import show_table

NAME = "airport-checkpoints@1.checkpoints"
LOAD = {"load": "10", "dataset": NAME, "kind": "refresh", "outcome": "[green]published[/]", "records": "336,776"}
LOAD |= {"rejected": "1,000", "seconds": "10.4", "when": "30 min ago"}
WORDS = st.text("abcdef@-. ", min_size=1, max_size=40)


def printed(rows: list[dict[str, str]], width: int) -> list[str]:
    """The lines in a window of a width."""
    file = io.StringIO()
    show_table(rows, PlainConsole(file=file, force_terminal=True, color_system=None, width=width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [200, 110, 95, 80, 60, 40])
def test_names_and_numbers_are_whole_at_every_width(width: int) -> None:
    lines = printed([LOAD, LOAD | {"load": "9"}], width)
    text = "\n".join(lines)
    for word in (NAME, "published", "336,776", "1,000", "refresh", "records", "rejected"):
        assert word in text
    assert text.count(NAME) == 2
    assert all(len(line) <= width for line in lines)


def test_what_has_room_stands_in_one_line_for_each_row() -> None:
    assert len(printed([LOAD, LOAD], 120)) == 3
    assert len(printed([LOAD, LOAD], 80)) == 6, "below the names of their datasets"


def test_other_columns_wrap_between_words_before_anything_else() -> None:
    row = {"id": "M8SjIlv1TPPa", "name": "the owner", "scopes": "ops:read ops:write nyc-flights:read"}
    lines = printed([row], 50)
    assert lines[1].startswith("M8SjIlv1TPPa  the owner  ops:read ops:write")
    assert lines[2].strip() == "nyc-flights:read"


def test_the_value_of_a_rejected_record_may_be_broken() -> None:
    row = {"reason": "type", "value": "z" * 60, "message": "expected an integer"}
    lines = printed([row], 40)
    assert lines[0].split() == ["reason", "value", "message"]
    assert "".join(lines).count("z") == 60


# Rich takes the spaces before the first word for a part of it.
@example([{"dataset": f" {'a' * 16}", "other": "a" * 14, "load": "a" * 11}])
@given(st.lists(st.fixed_dictionaries({"dataset": WORDS, "other": WORDS, "load": WORDS}), min_size=1, max_size=4))
def test_no_word_is_broken_or_lost(rows: list[dict[str, str]]) -> None:
    for width in (100, 45):
        found = "\n".join(printed(rows, width)).split()
        for row in rows:
            for cell in row.values():
                assert all(word in found for word in cell.split())
