"""Reports are read part by part; whatever is wrong has its line and its words."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.portal.reports.blocks import read_explorer, read_place
from api.portal.reports.markdown import render_prose
from api.portal.reports.model import Block, Place, Prose, Report, is_slug
from api.portal.reports.parsing import BLOCKS_MAXIMUM, parse_report
from api.portal.reports.words import label_group, name_group, name_measure, show_group, show_measure

HEAD = "---\ntitle: T\ndescription: D\n---\n"
QUESTION = "/browse/shop/v1/orders/explore?kind=a"


def parse(text: str) -> Report:
    return parse_report("x", text.encode())


def told(text: str) -> list[tuple[int, str]]:
    """(line, message) of each fault."""
    return [(fault.line, fault.message) for fault in parse(text).all_faults]


def test_a_report_is_prose_and_blocks_in_their_order() -> None:
    report = parse(f"{HEAD}Before.\n\n```table\n{QUESTION}&limit=5\ncaption: Some: of them\n```\n\nAfter.\n")
    assert (report.title, report.description, report.all_faults) == ("T", "D", [])
    before, block, after = report.parts
    assert isinstance(before, Prose)
    assert isinstance(after, Prose)
    assert isinstance(block, Block)
    assert (block.kind, block.line, block.place) == ("table", 8, Place("shop", "1", "orders"))
    assert block.question.query == "kind=a&limit=5"
    assert block.options == {"caption": "Some: of them"}
    assert report.version != parse(HEAD).version


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "begins with front matter"),
        ("# Title\n", 1, "begins with front matter"),
        ("---\ntitle: T\n", 1, "begins with front matter"),
        ("---\n- a\n---\n", 2, "begins with front matter"),
        ("---\ntitle: T\n---\n", 1, "description: is missing"),
        ("---\ntitle: T\ndescription: D\ntitel: X\n---\n", 4, "unknown field 'titel'; did you mean 'title'?"),
        ("---\ntitle: 3\ndescription: D\n---\n", 2, "title: must be a text of 1 to 120 characters"),
        (f"---\ntitle: T\ndescription: {'d' * 401}\n---\n", 3, "description: must be a text"),
        ("---\ntitle: &a T\ndescription: *a\n---\n", 2, "anchors and aliases are not allowed"),
        ("---\ntitle: T\ndescription: 'D\n---\n", 3, "is not YAML"),
        (f"{HEAD}```chart\n{QUESTION}\n", 5, "is never closed"),
        (f"{HEAD}```chrat\n{QUESTION}\n```\n", 5, "did you mean 'chart'?"),
        (f"{HEAD}```\n{QUESTION}\n```\n", 5, "is no kind of block"),
        (f"{HEAD}```chart\n```\n", 6, "has no address"),
        (f"{HEAD}```chart\n{QUESTION}\n{QUESTION}\n```\n", 6, "more than one address"),
        (f"{HEAD}```chart\n\n/data/shop/v1/orders/records\n```\n", 7, "is no address of the explorer"),
        (f"{HEAD}```table\n{QUESTION}\ncaptoin: x\n```\n", 7, "did you mean 'caption'?"),
        (f"{HEAD}```table\n{QUESTION}\nlabel: x\n```\n", 7, "unknown option 'label'; known are caption, measure"),
        (f"{HEAD}```table\n{QUESTION}\ncaption: x\ncaption: y\n```\n", 8, "caption: is repeated"),
        (f"{HEAD}```table\n{QUESTION}\ncaption:\n```\n", 7, "caption: is empty"),
        (f"{HEAD}```table\n{QUESTION}\ncaption: {'x' * 301}\n```\n", 7, "more than 300 characters"),
        (f"{HEAD}```state\n{QUESTION}\n```\n", 6, "is no address of a product or dataset"),
        (f"{HEAD}- item\n\n  ```table\n  {QUESTION}\n  ```\n", 7, "blocks stand by themselves"),
        (HEAD + f"```table\n{QUESTION}\n```\n" * (BLOCKS_MAXIMUM + 1), 5 + 3 * BLOCKS_MAXIMUM, "more than 40 blocks"),
    ],
)
def test_what_is_wrong_has_its_line(text: str, line: int, message: str) -> None:
    found = told(text)
    assert any(where == line and message in said for where, said in found), found


def test_a_file_that_is_no_text_is_a_report_with_one_fault() -> None:
    report = parse_report("x", b"---\ntitle: \xff\n")
    assert [fault.message for fault in report.all_faults] == ["is not UTF-8 (byte 11)"]
    assert report.parts == ()


def test_lines_end_as_they_may() -> None:
    text = f"{HEAD}A.\n\n```table\n{QUESTION}\n```\n"
    assert told(text.replace("\n", "\r\n")) == told(text.replace("\n", "\r")) == told("\ufeff" + text) == []


@pytest.mark.parametrize(
    "address",
    [
        "/browse/shop/v1/orders/explore?kind=a",
        "http://127.0.0.1:8000/browse/shop/v1/orders/explore?kind=a",
        "https://data.example/under/a/path/browse/shop/v1/orders/explore?kind=a#main",
    ],
)
def test_an_address_is_taken_as_browsers_copy_it(address: str) -> None:
    found = read_explorer(address)
    assert found is not None
    assert (found[0].path, found[1].query) == ("/data/shop/v1/orders", "kind=a")


def test_an_encoded_comma_stays_within_its_value() -> None:
    found = read_explorer("/browse/shop/v1/orders/explore?kind[in]=a,b%2Cc&customer=Łódź")
    assert found is not None
    assert found[1].query == "kind[in]=a,b%2Cc&customer=%C5%81%C3%B3d%C5%BA"


@pytest.mark.parametrize(
    "address",
    [
        "browse/shop/v1/orders/explore",
        "/browse/shop/v1/orders",
        "/browse/shop/1/orders/explore",
        "ftp://x/browse/shop/v1/orders/explore",
        "/browse/shop/v1/orders/explore kind=a",
        "/browse/shop/v1/a/b/explore",
        "javascript:alert(1)//browse/shop/v1/orders/explore",
    ],
)
def test_what_is_no_address_of_the_explorer_is_none(address: str) -> None:
    assert read_explorer(address) is None


def test_places_are_everything_a_product_or_a_dataset() -> None:
    addresses = ("/browse", "/browse/shop/v1", "/browse/shop/v1/a%20b")
    paths = [place.path for place in map(read_place, addresses) if place]
    assert paths == ["/data", "/data/shop/v1", "/data/shop/v1/a%20b"]
    assert read_place("/browse?q=x") is None
    assert Place("shop", "1", "a%20b").holds("shop", "1", "a b")
    assert not Place("shop", "1").holds("shop", "2", "orders")
    assert Place().holds("shop", "2", "orders")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        *((text, True) for text in ("a", "a-b-2", "a" * 80)),
        *((text, False) for text in ("A", "a_b", "-a", "a--b", "", "ä", "a" * 81)),
    ],
)
def test_names_in_addresses_are_slugs(text: str, fits: bool) -> None:
    assert is_slug(text) is fits


def prose(text: str) -> str:
    (part,) = parse(HEAD + text).parts
    assert isinstance(part, Prose)
    return render_prose(part.tokens, lambda path: f"/under{path}", count(1))


def test_prose_holds_no_html_no_image_and_no_script() -> None:
    html = prose("<b>x</b> ![i](https://e.example/i.png) [j](javascript:alert(1)) \u202ex\n\n<script>y</script>\n")
    assert "<b>" not in html
    assert "<img" not in html
    assert "<script" not in html
    assert 'href="javascript' not in html
    assert "\\u202ex" in html


def test_links_within_the_service_keep_the_path_under_which_it_stands() -> None:
    assert '<a href="/under/browse/x">' in prose("[x](/browse/x)")
    assert '<a href="https://e.example/" rel="noreferrer">' in prose("[x](https://e.example/)")
    assert '<a href="//e.example/" rel="noreferrer">' in prose("[x](//e.example/)")


def test_a_heading_is_below_the_title_and_a_table_can_be_scrolled() -> None:
    html = prose("# One\n\n## Two\n\n| a |\n|---|\n| 1 |\n")
    assert "<h1" not in html
    assert html.count("<h2>") == 2
    assert (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table 1 of the text"><table class="rows">' in html
    )


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_report("x", text.encode())
    parse_report("x", (HEAD + "```chart\n" + text).encode())


def test_groups_and_measures_are_written_for_people() -> None:
    assert name_group("month(ordered_at)") == "month of ordered at"
    assert name_group("bin(unit_price,0.5)") == "unit price"
    assert name_measure("p95:unit_price") == "95th percentile of unit price"
    assert name_measure("count") == "count"
    assert show_group("month(ordered_at)", "2026-03-01T00:00:00+01:00") == "Mar 2026"
    assert show_group("quarter(day)", "2026-04-01") == "Q2 2026"
    assert show_group("bin(price,10)", "-20") == "-20 to -10"
    assert show_group("kind", None) == "no value"
    assert label_group("month(ordered_at)", "2026-03-01T00:00:00+01:00") == "2026-03"
    assert show_measure("12.639070257304708") == "12.64"
    assert show_measure(-2.0) == "−2"
    assert show_measure(None) == "–"
