"""What readers are told where an owner published what a rule had withheld: which rules failed, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from catalog.model.load_request import PublishWithheld
from ingest.loading.load_report import LoadReport
from tests.support.keys import key_of, make_key
from tests.support.lab import PEOPLE, Lab
from tests.support.people import GOOD

DATASET = "/data/people/v1/people"
HEAD = "id,name,age,born\n"
NOTE = "The registry is late."
GATED = PEOPLE.replace(
    "    properties:\n",
    "    quality:\n"
    "      - {metric: rowCount, mustBeGreaterThan: 1}\n"
    "      - {metric: rowCount, mustBeLessThan: 1, severity: warning}\n"
    "    properties:\n",
    1,
)
ROWS = 'customProperties: [{property: rows, value: "age < 40"}]'


def publish(lab: Lab, load: int) -> LoadReport:
    """The publication of a withheld load, anyway."""
    return lab.loader().run(
        lab.dataset("people.people"), request=PublishWithheld(load, NOTE), requested_by="key owner"
    )


def told(client: httpx.Client, **headers: str) -> Any:
    """What the dataset's quality says of a decision; the same wherever it is told."""
    said = client.get(DATASET, headers=headers).json()["data"]["quality"]["published_anyway"]
    (product,) = client.get("/data", headers=headers).json()["data"]
    assert product["datasets"][0]["quality"]["published_anyway"] == said
    return said


def decided(client: httpx.Client) -> tuple[list[bool], list[bool]]:
    """What the lists of measured loads and of revisions say of decisions, the newest first."""
    lists = [client.get(f"{DATASET}/{name}").json()["data"] for name in ("quality", "revisions")]
    first, second = ([each["published_anyway"] for each in found] for found in lists)
    return first, second


@pytest.mark.slow
def test_readers_are_told_that_the_current_revision_was_published_although_a_rule_failed(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(GATED)
    assert lab.ingest("people.people", GOOD).status == "published"
    withheld = lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    assert withheld.status == "withheld"
    with lab.serve() as client:
        assert told(client) is None, "readers have the revision before it"
        assert decided(client) == ([False, False], [False])
        published = publish(lab, withheld.load_id)
        assert published.status == "published"
        said = told(client)
        assert said == {
            "load": published.load_id,
            "withheld_load": withheld.load_id,
            "at": said["at"],
            "failed": [{"rule": "rowCount", "measured": 1, "bound": "> 1"}],
        }
        assert said["at"].endswith("Z")
        operator = told(client, **key_of(lab, "ops:read"))
        assert operator == said | {"by": "key owner", "note": NOTE}
        assert decided(client) == ([True, False, False], [True, False])
        assert lab.ingest("people.people", GOOD).status == "published"
        assert told(client) is None, "the records that were published anyway are replaced"
        assert decided(client) == ([False, True, False, False], [False, True, False])


def test_who_sees_some_records_is_told_of_no_decision(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(GATED.replace("customProperties: [{property: anonymous, value: true}]", ROWS))
    withheld = lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    assert publish(lab, withheld.load_id).status == "published"
    with lab.serve() as client:
        client.headers["X-API-Key"] = make_key(lab, "people:read", "ops:read")
        assert "quality" not in client.get(DATASET).json()["data"]
        (revision,) = client.get(f"{DATASET}/revisions").json()["data"]
        assert sorted(revision) == ["published_at", "revision"]


@pytest.mark.slow
def test_a_load_that_changes_nothing_is_measured_and_listed(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(GATED)
    other_order = HEAD + "2,Ben,NA,\n1,Ann,30,1990-01-31\n"
    assert [lab.ingest("people.people", batch).status for batch in (GOOD, other_order)] == ["published", "unchanged"]
    with lab.serve() as client:
        listed = client.get(f"{DATASET}/quality").json()["data"]
        assert [each["status"] for each in listed] == ["unchanged", "published"]
        counted = client.get(DATASET).json()["data"]["quality"]["rules"]
        assert counted["kept"] == sum(rule["passed"] for rule in listed[0]["rules"]) > 2
