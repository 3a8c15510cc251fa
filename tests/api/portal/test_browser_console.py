"""The console in a real browser: whole at both widths, in both schemes, and an owner's tasks done by clicking."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser

from ingest.loading.run_queued import run_queued
from tests.support.browser import sign_in, watch
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.portal import load_troubled

PAGES = (
    *("/console", "/console/loads", "/console/loads?status=running", "/console/loads/1", "/console/loads/3"),
    *("/console/withheld/2", "/console/rejects", "/console/rejects?product=people&major=1&dataset=people"),
    *("/console/rejects?state=dismissed", "/console/rejects?state=lost", "/console/loads/99"),
    *("/console/schedules", "/console/usage", "/console/audit"),
)
SCOPES = ("people:read", "ops:read", "ops:write")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme"),
    [(320, "dark"), (1280, "light"), (320, "light"), (1280, "dark")],
)
def test_every_page_of_the_console_is_whole_in_reach_and_within_its_window(
    shared_labs: Callable[..., Lab], chromium: Browser, width: int, scheme: str
) -> None:
    lab = shared_labs(load_troubled)
    with lab.serve() as client:
        origin = str(client.base_url).rstrip("/")
        options: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        with watch(chromium, origin, **options) as watched:
            sign_in(watched.page, origin, make_key(lab, *SCOPES))
            for path in PAGES:
                watched.open(path)
                refused = [fault for fault in watched.faults if "status of 4" not in fault]
                assert (path, refused) == (path, [])
                assert (path, watched.overflow()) == (path, 0)
                assert (path, watched.barriers()) == (path, [])


@pytest.mark.slow
@pytest.mark.parametrize("scripted", [True, False])
def test_an_owner_understands_and_publishes_a_withheld_load(
    make_lab: Callable[..., Lab], chromium: Browser, *, scripted: bool
) -> None:
    lab = load_troubled(make_lab)
    with lab.serve() as client:
        origin = str(client.base_url).rstrip("/")
        with watch(chromium, origin, java_script_enabled=scripted) as watched:
            page = watched.page
            sign_in(page, origin, make_key(lab, *SCOPES))
            page.get_by_role("link", name="Console").click()
            page.get_by_role("link", name="decide about this load").click()
            assert "maxDeleted" in page.get_by_role("region", name="Failed checks").inner_text()
            page.get_by_label("Why it may be published").fill("the source shrank")
            page.get_by_role("button", name="Publish load 2 anyway").click()
            page.wait_for_url(f"{origin}/console/loads/*")
            queued = int(page.url.rpartition("/")[2])
            assert "It waits: no worker is alive." in page.locator("[data-follow]").inner_text()
            told = "This page follows it." if scripted else "Reload the page to see how it goes on."
            page.get_by_text(told).wait_for()
            assert run_queued(lab.loader(), queued) == "published"
            if not scripted:
                page.reload()
            page.locator("h1", has_text="published").wait_for()  # without a reload, where there is script
            assert page.locator("[data-follow]").count() == 0
            page.get_by_role("link", name="Rejected records", exact=True).click()
            page.get_by_role("link", name=re.compile("Replay or dismiss.*maximum")).click()
            page.get_by_role("link", name="replay or dismiss them").click()
            assert page.url.endswith("#act")
            page.get_by_label("why they will not be corrected").fill("a test record")
            page.get_by_role("checkbox").check()
            page.get_by_role("button", name="Dismiss").click()
            page.wait_for_url(f"{origin}/console/loads/*")
            assert run_queued(lab.loader(), int(page.url.rpartition("/")[2])) == "unchanged"
            page.get_by_role("link", name="Audit log").click()
            assert "a test record" in page.locator("main").inner_text()
