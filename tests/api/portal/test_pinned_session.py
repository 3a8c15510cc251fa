"""A session over several pages, with a publication before each of them: what began with a revision stays with it.

Every record of revision R holds R itself, so that whatever a page shows says of which revision it is.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.lab import Lab

LEVELS = """
apiVersion: v3.1.0
kind: DataContract
id: levels
name: Levels
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: levels
    customProperties:
      - {property: input, value: {server: here, path: levels.csv, mode: snapshot}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: kind, logicalType: string}
      - {name: mark, logicalType: integer}
roles:
  - {role: "levels:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
PAGE = "/browse/levels/v1/levels"
EXPLORE = f"{PAGE}/explore"
RECORDS = 30  # of revision R there are R more
STEP = 12  # records of a page


class Session:
    """Somebody who goes from page to page, while the dataset is published before each request."""

    def __init__(self, lab: Lab, client: httpx.Client) -> None:
        self.lab = lab
        self.client = client
        self.published = 0
        self.publish()

    def publish(self) -> None:
        """The next revision."""
        self.published += 1
        rows = [f"{n},{'ab'[n % 2]},{self.published}\n" for n in range(RECORDS + self.published)]
        report = self.lab.ingest("levels.levels", "id,kind,mark\n" + "".join(rows), "levels.csv")
        assert report.status == "published"

    def open(self, address: str, **fields: str) -> httpx.Response:
        """What an address shows, after one more publication; a form sends its fields."""
        self.publish()
        parts = urlsplit(html.unescape(address))
        answer = self.client.get(
            parts.path + (f"?{parts.query}" if parts.query else ""), params=fields or None, follow_redirects=True
        )
        assert answer.status_code == 200, answer.text
        return answer


@pytest.fixture
def session(make_lab: Callable[..., Lab]) -> Iterator[Session]:
    lab = make_lab(LEVELS)
    with lab.serve() as client:
        yield Session(lab, client)


def revision_of(page: str) -> int:
    """The revision that a page of the explorer says it shows."""
    found = re.search(r'class="sub">Revision ([0-9]+)', page)
    assert found is not None
    return int(found[1])


def link(page: str, key: str) -> str:
    """The address of the link with a key."""
    found = re.search(rf'<a [^>]*?href="([^"]+)"[^>]*data-key="{key}"', page)
    assert found is not None, key
    return html.unescape(found[1])


def rows(page: str) -> list[list[str]]:
    """The cells of the answer."""
    body = re.search(r'aria-label="The answer">.*?<tbody>(.*?)</tbody>', page, re.S)
    assert body is not None
    return [
        [html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall("<td[^>]*>(.*?)</td>", row)]
        for row in re.findall("<tr>(.*?)</tr>", body[1])
    ]


def check_walk(session: Session, page: str) -> int:
    """Walks to the end of the answer; how many records there were, all of the revision that the first page says."""
    revision, found = revision_of(page), []
    while True:
        assert revision_of(page) == revision
        found += rows(page)
        if 'data-key="next"' not in page:
            break
        page = session.open(link(page, "next")).text
    assert {mark for _, _, mark in found} == {str(revision)}
    assert len({key for key, _, _ in found}) == len(found) == RECORDS + revision
    return len(found)


@pytest.mark.slow
def test_what_is_pinned_shows_its_revision_on_every_page_of_a_session(session: Session) -> None:
    live = session.open(f"{EXPLORE}?limit={STEP}").text
    revision = revision_of(live)
    pinned = session.open(link(live, "pin")).text
    assert revision_of(pinned) == revision < session.published
    check_walk(session, pinned)
    # Its chart, made by the form on the page.
    question = re.search(r'name="_question" value="([^"]*)"', pinned)
    assert question is not None
    fields = {"_question": html.unescape(question[1]), "_add_group": "kind", "_add_measure": "max", "_add_of": "mark"}
    chart = session.open(EXPLORE, **fields).text
    assert revision_of(chart) == revision
    assert {row[1] for row in rows(chart)} == {str(revision)}
    assert 'class="chart"' in chart
    # What the programs ask, of the records and of the chart.
    for page in (pinned, chart):
        (address,) = re.findall(r"curl -gL (?:&#39;|')(http[^'&]+(?:&amp;[^'&]+)*)", page)
        answer = session.open(address)
        assert answer.headers["decant-revision"] == str(revision)
        assert {row.get("mark", row.get("max_mark")) for row in answer.json()["data"]} == {revision}
        assert set(re.findall(r"[?&;]at=([0-9]+)", page[page.index("Use this in a program") :])) == {str(revision)}
    # The whole as a file.
    (download,) = re.findall(r'href="([^"]*/export\?format=csv[^"]*)"', pinned)
    file = list(csv.DictReader(io.StringIO(session.open(download).text)))
    assert (len(file), {row["mark"] for row in file}) == (RECORDS + revision, {str(revision)})
    # A record, and what the values of a property are counted over.
    (record, *_) = re.findall(rf'href="({PAGE}/records/[^"]+)"', pinned)
    shown = session.open(record).text.partition("Earlier versions")[0]
    assert f"<dt>mark</dt><dd>{revision}</dd>" in shown
    assert f"revision {revision}.</p>" in shown
    (counts,) = re.findall(r'data-counts="([^"]*/facets/kind[^"]*)"', pinned)[:1]
    fragment = session.open(counts).text
    assert f"revision {revision}<" in fragment
    numbers = [int(number) for number in re.findall(r'class="number">([0-9]+)<', fragment)]
    assert sum(numbers) == RECORDS + revision
    # The newest is one link away, and is another one by now.
    assert revision < revision_of(session.open(link(pinned, "pin")).text) <= session.published


def test_a_page_that_follows_the_newest_stays_in_one_revision_from_its_first_part_on(session: Session) -> None:
    page = session.open(f"{EXPLORE}?limit={STEP}&sort=-id").text
    check_walk(session, page)
    # What a page links to is of the revision that it shows, or follows the newest; never of another.
    linked = {int(at) for at in re.findall(r"[?&;]at=([0-9]+)", page)}
    assert linked == {revision_of(page)}


@pytest.mark.slow
def test_a_comparison_and_the_dataset_name_one_revision_each(session: Session) -> None:
    for _ in range(3):
        page = session.open(PAGE).text
        marks = {
            int(mark) for mark in re.findall(r"<td[^>]*>([0-9]+)</td></tr>", page.partition("The first records")[2])
        }
        (newest,) = marks
        changes = session.open(f"{PAGE}/diff?since={newest - 1}&at={newest}").text
        pairs = set(re.findall(r"<code>mark</code></td><td[^>]*>([0-9]+)</td><td[^>]*>([0-9]+)</td>", changes))
        assert pairs == {(str(newest - 1), str(newest))}
