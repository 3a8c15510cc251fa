"""Pages in a real browser: nothing is broken, blocked, too wide or out of reach, with script and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.browser import watch
from tests.support.lab import Lab
from tests.support.portal import load_shop

ORDERS = "/browse/shop/v1/orders"
PAGES = (
    "/",
    "/browse",
    "/browse?q=customer",
    "/browse?q=nothing+like+it",
    "/browse/shop/v1",
    "/browse/shop/v1/contract",
    "/browse/shop/v1/contract?view=yaml",
    ORDERS,
    f"{ORDERS}/properties/price",
    f"{ORDERS}/properties/customer",
    f"{ORDERS}/explore",
    f"{ORDERS}/explore?kind=a&group_by=month(ordered_at),kind&measure=avg:price",
    f"{ORDERS}/explore?group_by=bin(price,10)",
    f"{ORDERS}/explore?kind=a&facet=customer",
    f"{ORDERS}/explore?group_by=month(ordered_at),kind,customer&limit=1000",
    f"{ORDERS}/explore?nonsense=1",
    f"{ORDERS}/records/5",
    f"{ORDERS}/records/0",
    f"{ORDERS}/diff",
    f"{ORDERS}/revisions",
    f"{ORDERS}/diff?since=9&at=1",
    "/reports",
    "/reports/sales",
    "/reports/broken",
    "/reports/nothing",
    "/browse/nothing/v1",
    f"{ORDERS}/properties/nothing",
)
REQUESTS_MAXIMUM = 6


# The narrow one says most; the others differ from it in colours, or have more room.
@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (320, "dark"),
        pytest.param(1280, "light", marks=pytest.mark.slow),
        pytest.param(320, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
    ],
)
def test_every_page_is_whole_in_reach_and_within_its_window(
    product: Callable[[Any], Lab], chromium: Browser, width: int, scheme: str
) -> None:
    with product(load_shop).serve() as client:
        options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        with watch(chromium, str(client.base_url).rstrip("/"), **options) as watched:
            for path in PAGES:
                watched.open(path)
                refused = [fault for fault in watched.faults if "status of 4" not in fault]
                assert (path, refused) == (path, [])
                assert (path, watched.overflow()) == (path, 0)
                assert (path, watched.barriers()) == (path, [])
                assert len(watched.requests) <= REQUESTS_MAXIMUM


@pytest.mark.slow
def test_pages_can_be_read_without_script(product: Callable[[Any], Lab], chromium: Browser) -> None:
    with product(load_shop).serve() as client:
        origin = str(client.base_url).rstrip("/")
        with watch(chromium, origin, java_script_enabled=False) as plain, watch(chromium, origin) as scripted:
            for path in PAGES[:8]:
                plain.open(path)
                scripted.open(path)
                assert plain.page.locator("h1").inner_text() == scripted.page.locator("h1").inner_text()
                assert plain.page.locator("table").count() == scripted.page.locator("table").count()


@pytest.mark.slow
def test_search_needs_no_script(product: Callable[[Any], Lab], chromium: Browser) -> None:
    with product(load_shop).serve() as client:
        origin = str(client.base_url).rstrip("/")
        with watch(chromium, origin, java_script_enabled=False) as watched:
            watched.open("/")
            watched.page.get_by_label("Search datasets, properties and reports").fill("custom")
            watched.page.keyboard.press("Enter")
            watched.page.wait_for_url("**/browse?q=custom")
            watched.page.get_by_role("link", name="customer", exact=True).click()
            assert watched.page.url == f"{origin}{ORDERS}/properties/customer"


@pytest.mark.slow
def test_the_keyboard_reaches_the_content_and_what_scrolls(product: Callable[[Any], Lab], chromium: Browser) -> None:
    with (
        product(load_shop).serve() as client,
        watch(chromium, str(client.base_url).rstrip("/"), viewport={"width": 320, "height": 800}) as watched,
    ):
        watched.open(ORDERS)
        keyboard = watched.page.keyboard
        keyboard.press("Tab")
        assert watched.page.evaluate("document.activeElement.textContent") == "Skip to content"
        keyboard.press("Enter")
        assert watched.page.url.endswith("#main")
        labels = set()
        for _ in range(60):
            keyboard.press("Tab")
            labels.add(watched.page.evaluate("document.activeElement.getAttribute('aria-label')"))
        assert {"Properties", "The first records"} <= labels


@pytest.mark.slow
def test_ages_are_relative_and_the_moment_stays_in_reach(product: Callable[[Any], Lab], chromium: Browser) -> None:
    with product(load_shop).serve() as client, watch(chromium, str(client.base_url).rstrip("/")) as watched:
        watched.open(ORDERS)
        found = watched.page.locator("dl.status time").first
        assert "UTC" in (found.get_attribute("title") or "")
        assert "UTC" not in found.inner_text()


PARTS_OF_NAMES = """() => [...document.querySelectorAll('.properties tbody th code')].flatMap((code) =>
  [...code.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && !/ /.test(node.data)).map((node) => {
    const range = document.createRange();
    range.selectNode(node);
    return [node.data, range.getClientRects().length];
  }))"""


@pytest.mark.slow
def test_names_break_between_words_and_answers_stand_before_forms_on_a_narrow_screen(
    product: Callable[[Any], Lab], chromium: Browser
) -> None:
    with (
        product(load_shop).serve() as client,
        watch(chromium, str(client.base_url).rstrip("/"), viewport={"width": 320, "height": 800}) as watched,
    ):
        page = watched.page
        watched.open(ORDERS)
        found = page.evaluate(PARTS_OF_NAMES)
        assert ["ordered_", 1] in found
        assert {lines for _, lines in found} == {1}
        for path, link, region in (
            (f"{ORDERS}/explore", "Filter, group and measure", "Change the question"),
            ("/browse", "Narrow the results", "Narrow the results"),
        ):
            watched.open(path)
            aside = page.get_by_role("complementary", name=region)
            top = aside.bounding_box()
            answer = page.locator(".split > div").first.bounding_box()
            assert top is not None
            assert answer is not None
            assert answer["y"] + answer["height"] <= top["y"]
            page.get_by_role("link", name=link).click()
            assert aside.evaluate("element => element === document.activeElement")
