"""Pages over a catalogue of many datasets: lists stand in parts, and weigh no more than those of a small one."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from itertools import chain

import httpx
import pytest

from api.portal import slices
from bench.many_datasets import FAILED, WITHHELD, publish_all, write_contracts
from tests.support.keys import key_of
from tests.support.lab import Lab

DATASETS, MEMBERS = 23, 10  # in all, and of a part: smaller ones than people see, which are made sooner
PARTS = [10, 10, 3]
LINK = re.compile(r'<h2><a href="(/browse/[^"]+)">')
ROW = re.compile(r'<tr><th scope="row"><a href="(/browse/[^"]+)">')


def load_many(make_lab: Callable[..., Lab], datasets: int = DATASETS) -> Lab:
    """So many datasets in several products, each published, some of which need somebody."""
    lab = make_lab(*write_contracts(datasets))
    publish_all(lab.urls.owner)
    return lab


@pytest.fixture(scope="module")
def lab(shared_labs: Callable[..., Lab]) -> Lab:
    return shared_labs(load_many)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MEMBERS_SHOWN", MEMBERS)  # the service runs in this process


def walk_pages(client: httpx.Client, path: str, link: re.Pattern[str], **headers: str) -> list[list[str]]:
    """What each part of a list links to, from its first on."""
    parts, following = [], path
    while following:
        page = client.get(following, headers=headers)
        assert page.status_code == 200, page.text
        assert len(page.content) < 100_000
        parts.append(link.findall(page.text))
        found = re.search(r'href="([^"]+)" rel="next"', page.text)
        following = html.unescape(found[1]) if found else ""
    return parts


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("query", ["", "?q=station", "?tag=region,nothing", "?status=active&q=level"])
def test_search_shows_every_dataset_once_in_parts(lab: Lab, query: str) -> None:
    with lab.serve() as client:
        listed = [
            f"/browse/{product['product']}/v{product['major']}/{dataset['dataset']}"
            for product in client.get(f"/data{query}").json()["data"]
            for dataset in product["datasets"]
        ]
        parts = walk_pages(client, f"/browse{query}", LINK)
        assert [len(part) for part in parts] == PARTS
        assert list(chain(*parts)) == listed
        first = client.get(f"/browse{query}").text
        assert "23 datasets, 1 to 10 here" in first
        assert 'rel="prev"' not in first


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("page", ["0", "4", "-1", "x", "", "1&page=1", "%31", "99999999999", "1.0"])
def test_a_part_that_is_not_there_is_refused(lab: Lab, page: str) -> None:
    with lab.serve() as client:
        for path in ("/browse", "/console", "/console/schedules"):
            headers = key_of(lab, "ops:read") if "console" in path else {}
            answer = client.get(f"{path}?page={page}", headers=headers)
            assert answer.status_code == 422, (path, page)
            assert "page: " in answer.text


@pytest.mark.usefixtures("small_parts")
def test_what_needs_somebody_comes_first_in_the_console(lab: Lab) -> None:
    with lab.serve() as client:
        key = key_of(lab, "ops:read")
        status = client.get("/operations/status", headers=key).json()
        places = [f"/browse/{each['product']}/v{each['major']}/{each['dataset']}" for each in status["data"]]
        needing = list(
            dict.fromkeys(
                f"/browse/{each['product']}/v{each['major']}/{each['dataset']}" for each in status["attention"]
            )
        )
        ids = range(1, DATASETS + 1)
        assert len(needing) >= len([n for n in ids if n % FAILED == 0 or n % WITHHELD == 1]) > 0
        parts = walk_pages(client, "/console", ROW, **key)
        assert [len(part) for part in parts] == PARTS
        assert list(chain(*parts)) == needing + [place for place in places if place not in needing]


def test_lists_of_many_datasets_are_light(lab: Lab) -> None:
    with lab.serve() as client:
        check_weights(client, key_of(lab, "ops:read"))


def check_weights(client: httpx.Client, key: dict[str, str]) -> None:
    """Pages keep their limit, and the status of all datasets is sent compressed."""
    for path in ("/", "/browse", "/browse?q=station", "/browse/region-000/v1", "/console", "/console/schedules"):
        packed = client.get(path, headers={"Accept-Encoding": "gzip"} | (key if "console" in path else {}))
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < 15_000
    status = client.get("/operations/status", headers=key | {"Accept-Encoding": "gzip"})
    assert (status.headers["content-encoding"], status.headers["cache-control"]) == ("gzip", "no-store")
    assert int(status.headers["content-length"]) < len(status.content) / 5


@pytest.mark.slow
def test_five_hundred_datasets_weigh_no_more(make_lab: Callable[..., Lab]) -> None:
    lab = load_many(make_lab, 500)
    with lab.serve() as client:
        check_weights(client, key_of(lab, "ops:read"))
        assert len(list(chain(*walk_pages(client, "/browse", LINK)))) == 500
