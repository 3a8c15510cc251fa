"""A real browser: Debian's Chromium, driven through Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.tools import get_tool


@dataclass
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    origin: str
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Opens an address of the service, until nothing is left to be fetched."""
        self.faults.clear()
        self.requests.clear()
        self.page.goto(self.origin + path, wait_until="networkidle")

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        found: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return found

    def barriers(self) -> list[str]:
        """What axe finds against WCAG 2.2 A and AA, and its best practices."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {[node['target'] for node in each['nodes']][:3]}" for each in found]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; ended with the module, since no other test can run an event loop meanwhile."""
    tool = get_tool("chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(tool.program), args=["--no-sandbox"], env=tool.environment or None
        )
        yield launched
        launched.close()


@contextmanager
def watch(browser: Browser, origin: str, **options: Any) -> Iterator[Watched]:
    """A page on which errors, violations of its policy and requests to other hosts are noted as faults."""
    context = browser.new_context(**options)
    page = context.new_page()
    watched = Watched(page, origin)

    def note_request(url: str) -> None:
        watched.requests.append(url)
        if not url.startswith((origin, "data:")):
            watched.faults.append(f"asks {url}")

    page.on("console", lambda said: watched.faults.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: watched.faults.append(str(error)))
    page.on("request", lambda request: note_request(request.url))
    try:
        yield watched
    finally:
        context.close()


def sign_in(page: Page, origin: str, key: str) -> None:
    """Signs in as a visitor does, by keyboard alone."""
    page.goto(f"{origin}/sign-in?next=/account")
    assert page.evaluate("document.activeElement.id") == "key"
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{origin}/account")
