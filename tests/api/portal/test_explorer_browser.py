"""The explorer in a real browser: parts change in place, with history, focus and an announcement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import Watched, watch
from tests.support.lab import Lab
from tests.support.portal import load_shop

EXPLORE = "/browse/shop/v1/orders/explore"
MULTIPLES = f"{EXPLORE}?group_by=month(ordered_at),kind,customer&limit=1000"

# Notes the addresses of requests that are ended.
WATCH_ENDED = """() => {
  window.ended = [];
  const ask = window.fetch;
  window.fetch = (url, options) => {
    options.signal.addEventListener("abort", () => window.ended.push(String(url)));
    return ask(url, options);
  };
}"""


@pytest.fixture
def explorer(product: Callable[[Any], Lab], chromium: Browser) -> Iterator[Watched]:
    """The explorer of the shop, marked so that a reload is seen."""
    with product(load_shop).serve() as client, watch(chromium, str(client.base_url).rstrip("/")) as watched:
        watched.open(EXPLORE)
        watched.page.evaluate("window.marked = true")
        yield watched


def is_marked(page: Page) -> bool:
    """Whether the page has not been loaded again."""
    return bool(page.evaluate("window.marked === true"))


@pytest.mark.slow
def test_a_question_changes_in_place_and_its_history_leads_back(explorer: Watched) -> None:
    page = explorer.page
    page.locator("details[data-facet=kind] summary").click()
    page.locator("details[data-facet=kind] ul.facet a").first.click()
    page.wait_for_url("**/explore?kind=*")
    expect(page.locator(".chips")).to_contain_text("kind =")
    assert is_marked(page)
    first = page.url
    page.locator("th").get_by_role("link", name="price").click()
    page.wait_for_url("**sort=price*")
    expect(page.locator("th[aria-sort=ascending]")).to_have_count(1)
    # What was used has the focus again, and what changed is said.
    assert page.evaluate("document.activeElement.dataset.key") == "sort price"
    expect(page.get_by_role("status")).to_have_text(re.compile(r"\d+ records on this page"))
    page.go_back()
    page.wait_for_url(first)
    expect(page.locator("th[aria-sort]")).to_have_count(0)
    page.go_back()
    page.wait_for_url(re.compile(r"/explore(\?facet=kind)?$"))
    expect(page.locator(".chips")).to_have_count(0)
    page.go_forward()
    page.wait_for_url(first)
    expect(page.locator(".chips")).to_contain_text("kind =")
    assert is_marked(page)
    shown = page.locator(".answer tbody").inner_text()
    page.reload()
    assert page.locator(".answer tbody").inner_text() == shown
    assert explorer.faults == []


@pytest.mark.slow
def test_a_form_and_the_next_page_work_by_keyboard_alone(explorer: Watched) -> None:
    page = explorer.page
    page.get_by_label("Property").select_option("price")
    page.get_by_label("Condition").select_option("gte")
    value = page.get_by_role("textbox", name="Value", exact=True)
    value.focus()
    page.keyboard.type("10")
    page.keyboard.press("Enter")
    page.wait_for_url("**/explore?price[gte]=10")
    expect(page.locator(".chips")).to_contain_text("price ≥ 10")
    assert page.evaluate("document.activeElement.id") == "answer"
    explorer.open(f"{EXPLORE}?limit=20")
    page.evaluate("window.marked = true")
    cell = page.locator(".answer tbody td").first
    first = cell.inner_text()
    page.get_by_role("link", name="Next page").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**cursor=*")
    expect(cell).not_to_have_text(first)
    assert page.evaluate("document.activeElement.id") == "answer"
    assert is_marked(page)
    assert explorer.faults == []


@pytest.mark.slow
def test_a_change_stays_where_it_was_asked_and_what_is_wrong_comes_into_sight(explorer: Watched) -> None:
    page = explorer.page
    page.set_viewport_size({"width": 1280, "height": 500})
    value = page.get_by_role("textbox", name="Value", exact=True)

    def add(text: str) -> float:
        page.get_by_label("Property").select_option("price")
        page.get_by_label("Condition").select_option("gte")
        value.fill(text)
        value.scroll_into_view_if_needed()
        top = float(page.evaluate("scrollY"))
        value.press("Enter")
        return top

    top = add("10")
    expect(page.locator(".chips")).to_contain_text("price ≥ 10")
    assert page.evaluate("[document.activeElement.id, scrollY]") == ["answer", top]
    page.evaluate("scrollTo(0, 400)")
    add("x")
    expect(page.locator("#problem")).to_be_focused()
    expect(page.locator("#problem")).to_be_in_viewport()
    assert is_marked(page)
    assert explorer.barriers() == []


@pytest.mark.slow
def test_an_opened_property_is_counted_and_its_address_restores_it(explorer: Watched) -> None:
    page = explorer.page
    explorer.open(f"{EXPLORE}?kind[in]=a,%3Cc%3E")
    page.locator("details[data-facet=customer] summary").click()
    counts = page.locator("details[data-facet=customer] .counts")
    expect(counts).to_contain_text("Under the other filters, revision 2")
    # A comma that is encoded stays so: the address is the same question.
    assert page.url.endswith("?kind[in]=a,%3Cc%3E&facet=customer")
    told = counts.inner_text()
    page.reload()
    expect(page.locator("details[data-facet=customer]")).to_have_attribute("open", "")
    assert counts.inner_text() == told
    page.locator("details[data-facet=customer] summary").click()
    page.wait_for_url("**%3Cc%3E")
    assert explorer.barriers() == []
    assert explorer.faults == []


@pytest.mark.slow
def test_counting_ends_when_the_question_changes(explorer: Watched) -> None:
    page, held = explorer.page, list[Route]()
    explorer.open(f"{EXPLORE}?kind=a")
    page.evaluate(WATCH_ENDED)
    page.route("**/explore/facets/**", lambda route: held.append(route))
    with page.expect_request("**/explore/facets/customer*"):
        page.locator("details[data-facet=customer] summary").click()
    page.unroute("**/explore/facets/**")
    page.locator(".chips a").first.click()
    expect(page.locator(".chips")).to_have_count(0)
    assert "/facets/customer" in page.evaluate("window.ended.join()")
    # Without a filter the profile says it all.
    expect(page.locator("details[data-facet=customer] .counts")).to_have_count(0)


@pytest.mark.slow
def test_a_property_is_counted_without_script(product: Callable[[Any], Lab], chromium: Browser) -> None:
    with product(load_shop).serve() as client:
        origin = str(client.base_url).rstrip("/")
        with watch(chromium, origin, java_script_enabled=False) as plain:
            plain.open(f"{EXPLORE}?kind=a")
            plain.page.locator("details[data-facet=customer] summary").click()
            plain.page.locator("details[data-facet=customer]").get_by_role("link", name="Count under").click()
            assert plain.page.url == f"{origin}{EXPLORE}?kind=a&facet=customer"
            expect(plain.page.locator("details[data-facet=customer] .counts")).to_contain_text("revision 2")


@pytest.mark.slow
def test_pages_are_whole_in_forced_colours_and_with_reduced_motion(explorer: Watched) -> None:
    page = explorer.page
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    for path in (MULTIPLES, EXPLORE, "/browse/shop/v1/orders"):
        explorer.open(path)
        assert (path, explorer.barriers(), explorer.faults) == (path, [], [])
        moving = "getComputedStyle(document.documentElement).scrollBehavior"
        assert page.evaluate(moving) == "auto"
    text = "getComputedStyle(document.body).color"
    assert page.evaluate(f"getComputedStyle(document.querySelector('.spark rect')).fill === {text}")
    explorer.open(MULTIPLES)
    label = "getComputedStyle(document.querySelector('.chart .wide text')).fill"
    assert page.evaluate(f"{label} === {text}")


@pytest.mark.slow
def test_what_is_printed_is_the_answer_without_the_navigation(explorer: Watched) -> None:
    page = explorer.page
    explorer.open(f"{EXPLORE}?limit=1000")
    page.emulate_media(media="print")
    for hidden in ("header.bar", "footer.foot", "form.ask", ".crumbs", ".buttons"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert page.locator(".answer table").is_visible()
    # Nothing is cut off by a box that would scroll on a screen.
    assert page.evaluate(
        "(box => box.scrollHeight <= box.clientHeight + 1)(document.querySelector('.answer .scroll'))"
    )
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 2


@pytest.mark.slow
def test_panels_stand_in_one_column_at_four_hundred_per_cent(explorer: Watched) -> None:
    page = explorer.page
    page.set_viewport_size({"width": 320, "height": 256})  # 1280 by 1024 at 400 %
    for path in (MULTIPLES, f"{EXPLORE}?kind=a&facet=customer", "/browse/shop/v1/orders"):
        explorer.open(path)
        assert (path, explorer.overflow()) == (path, 0)
    explorer.open(MULTIPLES)
    titles = page.locator(".chart .narrow .role-facet-title, .chart .narrow text[font-weight=bold]")
    places = {round(box["x"] + box["width"] / 2) for box in [title.bounding_box() for title in titles.all()] if box}
    assert len(places) <= 2
    sizes = page.evaluate(
        "[...document.querySelectorAll('.chart .narrow text')].map((text) => text.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 9
