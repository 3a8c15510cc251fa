"""The feed of earthquakes that ships as an example: from an HTTP API to the service, and asked again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runtime.settings.settings import PROJECT_ROOT
from tests.support.earthquakes import FEED, make_event
from tests.support.lab import Lab, walk

CONTRACT = (PROJECT_ROOT / "contracts" / "earthquakes.odcs.yaml").read_text(encoding="utf-8")
SAVED = PROJECT_ROOT.parent / "shared" / "data" / "earthquakes.json"
BASE = "/data/earthquakes/v1/events/records"


class Feed:
    """A server of one document, which knows its ETag."""

    def __init__(self) -> None:
        self.content = b"{}"
        self.asked: list[str | None] = []
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.headers.get("If-None-Match")
                feed.asked.append(known)
                tag = f'"{hash(feed.content)}"'
                self.send_response(304 if known == tag else 200)
                self.send_header("ETag", tag)
                self.send_header("Content-Length", str(0 if known == tag else len(feed.content)))
                self.end_headers()
                if known != tag:
                    self.wfile.write(feed.content)

            def log_message(self, *args: Any) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def tell(self, *events: dict[str, Any]) -> None:
        """What is answered from now on."""
        self.content = json.dumps({"type": "FeatureCollection", "features": events}).encode()


@pytest.fixture
def feed() -> Iterator[Feed]:
    made = Feed()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def make_feed_lab(make_lab: Callable[..., Lab], feed: Feed) -> Lab:
    """The shipped contract, pointed at the server here."""
    assert FEED in CONTRACT
    return make_lab(CONTRACT.replace(FEED, f"http://127.0.0.1:{feed.server.server_port}/feed"))


@pytest.mark.slow
@pytest.mark.journey
def test_the_feed_is_pulled_mended_and_served(make_lab: Callable[..., Lab], feed: Feed) -> None:
    lab = make_feed_lab(make_lab, feed)
    good = [make_event(f"ci{number}", number / 4) for number in range(30)]
    feed.tell(*good, make_event("ci99", 11.5, status="guessed"))
    report = lab.ingest("earthquakes.events")
    assert report.outcome
    assert (report.status, report.outcome.raw, report.outcome.rejected) == ("published", 31, 1)
    assert {reason.reason for reason in report.outcome.reasons} == {"magnitude: maximum", "status: enum"}
    assert lab.ingest("earthquakes.events").status == "unchanged"
    assert feed.asked[0] is None
    assert feed.asked[1] is not None
    feed.tell(make_event("ci3", 8.5, updated=1_700_000_200_000, status="REVIEWED"), make_event("ci98", 1.0))
    second = lab.ingest("earthquakes.events").outcome
    assert second
    assert (second.inserted, second.updated, second.deleted) == (1, 1, 0)
    with lab.serve() as client:
        assert len(walk(client, f"{BASE}?limit=7")) == 31
        strongest = client.get(f"{BASE}?magnitude[gte]=8&properties=id,magnitude,status,occurred_at").json()
    assert strongest["data"] == [
        {"id": "ci3", "occurred_at": "2023-11-14T22:13:20+00:00", "magnitude": 8.5, "status": "reviewed"}
    ]


@pytest.mark.journey
@pytest.mark.skipif(not SAVED.exists(), reason="the saved answer of the real feed is not here")
def test_every_event_of_a_real_answer_is_accounted_for(make_lab: Callable[..., Lab], feed: Feed) -> None:
    lab = make_feed_lab(make_lab, feed)
    feed.content = SAVED.read_bytes()
    outcome = lab.ingest("earthquakes.events").outcome
    assert outcome
    assert outcome.raw == 1707 == outcome.accepted + outcome.rejected + outcome.duplicates
    assert outcome.rejected == 0
