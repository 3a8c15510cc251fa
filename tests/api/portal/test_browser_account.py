"""Pages of visitors who have signed in, in a real browser: by keyboard, at both widths, in both schemes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.browser import sign_in, watch
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.portal import load_shop

# What the browser has kept of a page that needs a session.
KEPT = """fetch('/browse/people/v1/people', {cache: 'only-if-cached', mode: 'same-origin'})
    .then(answer => answer.ok ? answer.text() : 'nothing', () => 'nothing')"""
PAGES = (
    "/sign-in?next=/account&again=1",
    "/account",
    "/account/keys",
    "/account/keys?state=revoked",
    "/account/webhooks",
    "/",
)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1280, "light")])
def test_pages_of_an_account_are_whole_in_reach_and_within_their_window(
    product: Callable[[Any], Lab], chromium: Browser, width: int, scheme: str
) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        origin = str(client.base_url).rstrip("/")
        options: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        with watch(chromium, origin, **options) as watched:
            watched.open("/sign-in")
            assert (watched.faults, watched.overflow(), watched.barriers()) == ([], 0, [])
            sign_in(watched.page, origin, make_key(lab, "people:read", "ops:read", "keys:admin"))
            for path in PAGES:
                watched.open(path)
                for summary in watched.page.locator("main summary").all():
                    summary.click()
                assert (path, watched.faults) == (path, [])
                assert (path, watched.overflow()) == (path, 0)
                assert (path, watched.barriers()) == (path, [])


@pytest.mark.slow
@pytest.mark.parametrize("scripted", [True, False])
def test_a_partner_rotates_the_key_and_signs_out(
    product: Callable[[Any], Lab], chromium: Browser, *, scripted: bool
) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        origin = str(client.base_url).rstrip("/")
        with watch(chromium, origin, java_script_enabled=scripted) as watched:
            page = watched.page
            page.goto(f"{origin}/sign-in")
            page.get_by_label("API key").fill("dcnt_mistyped")
            page.get_by_role("button", name="Sign in").click()
            assert "not valid here" in page.get_by_role("alert").inner_text()
            page.get_by_label("API key").fill(make_key(lab, "people:read"))
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("link", name="Account").click()
            page.get_by_role("button", name="Rotate").click()
            key = page.locator("textarea").input_value()
            assert client.get("/data/people/v1/people/records", headers={"X-API-Key": key}).status_code == 200
            page.get_by_role("link", name="Done").click()
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url(f"{origin}/")
            assert page.get_by_role("link", name="Sign in").is_visible()


@pytest.mark.slow
def test_nothing_that_a_session_has_seen_is_left_behind(product: Callable[[Any], Lab], chromium: Browser) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        origin = str(client.base_url).rstrip("/")
        with watch(chromium, origin) as watched:
            page = watched.page
            page.context.add_cookies([{"name": "other", "value": "1", "url": origin}])
            sign_in(page, origin, make_key(lab, "people:read"))
            page.goto(f"{origin}/browse/people/v1/people")
            assert "Hedwig" in page.content()
            assert "Hedwig" in page.evaluate(KEPT)
            (old,) = (each for each in page.context.cookies() if each["name"] == "decant")
            page.evaluate("localStorage.setItem('other', '1')")
            page.goto(f"{origin}/account")
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url(f"{origin}/")
            # What is of other services on the host stays.
            assert page.evaluate("localStorage.getItem('other')") == "1"
            assert [each["name"] for each in page.context.cookies()] == ["other"]
            # Not even with the old cookie, by which the browser would find what it has kept.
            page.context.add_cookies([{k: v for k, v in old.items() if k in ("name", "value", "domain", "path")}])
            assert page.evaluate(KEPT) == "nothing"
            page.context.clear_cookies()
            for _ in range(2):
                page.go_back()
            assert (page.url, "Hedwig" in page.content()) == (f"{origin}/browse/people/v1/people", False)
