"""The examples of docs/how-to/follow.md, run as they stand against a real service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from api.following.event_stream import ENDINGS
from tests.support.browser import chromium, watch  # noqa: F401 - a fixture
from tests.support.documents import BASE, read
from tests.support.following import publish
from tests.support.lab import Lab
from tests.support.sockets import serving
from tests.support.waiting import wait_until

TEXT = read("docs/how-to/follow.md")
AIRLINES = "/data/nyc-flights/v1/airlines"
PEOPLE = "/data/people/v1/people"


def example(language: str, base: str) -> str:
    """The example in one language, about the product of these tests."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)
    return str(found).replace(BASE, base).replace(AIRLINES, PEOPLE)


@pytest.fixture
def base(lab: Lab) -> Iterator[str]:
    """The address of the service of a product with one revision."""
    publish(lab, "Ann")
    with serving(lab) as (host, port):
        yield f"http://{host}:{port}"


def test_the_example_with_curl_prints_what_the_page_shows(base: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    process = subprocess.Popen(["sh", "-c", "exec " + example("sh", base).strip()], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(6)]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    shown = example("text", base).splitlines()
    assert [line.partition(":")[0] for line in lines] == [line.partition(":")[0] for line in shown]
    assert lines[1:5] == shown[1:5]
    printed, said = (json.loads(text[-1].removeprefix("data: ")) for text in (lines, shown))
    assert list(printed) == list(said)
    assert re.sub(r"epoch=\w+", "", printed["changes"]) == re.sub(r"epoch=\w+", "", said["changes"])


@pytest.mark.slow
def test_the_example_in_python_yields_revisions_and_goes_on_where_it_was(lab: Lab, base: str) -> None:
    names: dict[str, Any] = {}
    exec(example("python", base), names)
    follow: Callable[..., Iterator[dict[str, Any]]] = names["follow"]
    with httpx.Client(base_url=base, timeout=60) as api, closing(follow(api, PEOPLE)) as events:
        assert next(events)["revision"] == 1
        publish(lab, "Ben")
        event = next(events)
        assert (event["revision"], event["updated"]) == (2, 1)
        assert api.get(event["changes"]).json()["data"][0]["record"]["name"] == "Ben"
    publish(lab, "Cid")
    publish(lab, "Dan")
    with httpx.Client(base_url=base, timeout=60) as api, closing(follow(api, PEOPLE, 2)) as events:
        event = next(events)
        assert "since=2&at=" in event["changes"]
        assert event["revision"] in {3, 4}


@pytest.mark.slow
def test_the_example_in_javascript_runs_in_a_browser(lab: Lab, base: str, chromium: Browser) -> None:  # noqa: F811
    said: list[str] = []
    with watch(chromium, base) as watched:
        watched.page.on("console", lambda message: said.append(message.text))
        watched.page.goto(f"{base}/livez")
        watched.page.evaluate(f"() => {{ {example('js', base)} }}")

        def has_said(revision: int) -> bool:
            watched.page.wait_for_timeout(20)  # in which the browser's messages are taken
            return any(text.startswith(f"revision {revision}: {PEOPLE}/changes?since=") for text in said)

        wait_until(lambda: has_said(1))
        publish(lab, "Ben")
        wait_until(lambda: has_said(2))
        assert watched.faults == []


@pytest.mark.slow
def test_the_page_lists_every_reason_why_a_stream_ends() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (yes|no) \|$", TEXT, re.M)
    assert dict(rows) == {reason: "yes" if reconnect else "no" for reason, (_, reconnect) in ENDINGS.items()}
