"""Pages on paper: nothing is cut, numbers and moments stay whole, and ages are moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Watched, watch
from tests.support.lab import PEOPLE, Lab
from tests.support.portal import load_shop

ORDERS = "/browse/shop/v1/orders"
SHEET = {"width": 1047, "height": 700}  # A4, landscape, between margins of 12 mm: 277 mm in pixels of CSS
# How far an element reaches beyond the sheet, and in how many lines its text stands.
BEYOND = "(all) => Math.max(...all.map((each) => each.getBoundingClientRect().right)) - window.innerWidth"
LINES = """(all) => Math.max(...all.map((each) => {
  const range = document.createRange();
  range.selectNodeContents(each);
  return new Set([...range.getClientRects()].map((rect) => Math.round(rect.top))).size;
}))"""
NAMES = [name for n in range(6) for name in (f"measured_at_{n:02}", f"amount_{n:02}")]
KINDS = {"measured": "timestamp", "amount": "integer", "code": "string"}
BORN = "      - {name: born, logicalType: date}\n"


def with_properties(names: list[str]) -> str:
    """The contract of people with more properties."""
    kinds = [KINDS[name.partition("_")[0]] for name in names]
    lines = [f"      - {{name: {name}, logicalType: {kind}}}\n" for name, kind in zip(names, kinds, strict=True)]
    return PEOPLE.replace(BORN, BORN + "".join(lines))


@pytest.fixture
def paper(chromium: Browser) -> Iterator[Callable[[str, str], Watched]]:
    """Opens a page as it is printed."""
    opened: list[Any] = []

    def show(origin: str, path: str) -> Watched:
        watching = watch(chromium, origin, viewport=SHEET)
        watched = watching.__enter__()
        opened.append(watching)
        watched.open(path)
        watched.page.emulate_media(media="print")
        return watched

    yield show
    for watching in opened:
        watching.__exit__(None, None, None)


def wide_lab(make_lab: Callable[..., Lab]) -> Lab:
    """Sixteen properties, as many as a sheet has room for, and six of them moments."""
    lab = make_lab(with_properties(NAMES))
    values = ",".join(f"2026-01-0{n + 1}T10:00:00Z,{n}12345" for n in range(6))
    lab.ingest("people.people", f"id,name,age,born,{','.join(NAMES)}\n1,Ann,30,1990-01-31,{values}\n")
    return lab


@pytest.mark.slow
def test_the_records_of_a_wide_dataset_fit_on_paper(
    make_lab: Callable[..., Lab], paper: Callable[[str, str], Watched]
) -> None:
    with wide_lab(make_lab).serve() as client:
        for path in ("/browse/people/v1/people", "/browse/people/v1/people/explore"):
            page = paper(str(client.base_url).rstrip("/"), path).page
            cells = page.locator(".records tr > *")
            assert cells.evaluate_all(BEYOND) <= 0, path
            assert page.locator(".records td.right").evaluate_all(LINES) == 1
            assert page.locator(".records td.moment").evaluate_all(LINES) <= 2


@pytest.mark.slow
def test_what_leads_on_is_not_printed_and_programs_are_whole(
    product: Callable[[Any], Lab], paper: Callable[[str, str], Watched]
) -> None:
    with product(load_shop).serve() as client:
        page = paper(str(client.base_url).rstrip("/"), ORDERS).page
        program = page.locator("pre", has_text="curl")
        assert program.evaluate("each => each.scrollWidth - each.clientWidth") <= 0
        assert page.locator("header.bar").is_hidden()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert "UTC" in page.locator("dl.status time").first.inner_text()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert "UTC" not in page.locator("dl.status time").first.inner_text()


@pytest.mark.slow
def test_columns_for_which_a_sheet_has_no_room_are_counted(
    make_lab: Callable[..., Lab], paper: Callable[[str, str], Watched]
) -> None:
    names = [*NAMES, *(f"code_{n:02}" for n in range(9))]
    lab = make_lab(with_properties(names))
    lab.ingest("people.people", f"id,name,age,born,{','.join(names)}\n1,Ann,30,{',' * len(names)}\n")
    with lab.serve() as client:
        page = paper(str(client.base_url).rstrip("/"), "/browse/people/v1/people").page
        assert page.get_by_text("The first 16 of 25 columns are printed.").is_visible()
        assert page.locator(".records thead th:visible").count() == 16
        page.emulate_media(media="screen")
        assert page.get_by_text("The first 16 of 25 columns are printed.").is_hidden()
        assert page.locator(".records thead th").count() == 25
