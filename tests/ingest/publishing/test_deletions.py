"""Records that delete the record of their key, in files: by a property, by order values, and with replays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.model.load_request import Replay
from runtime.errors import CatalogError
from tests.support.examples import examples
from tests.support.lab import Lab

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: people
name: People
version: 1.0.0
status: active
servers: [{{server: here, type: local, path: "${{DECANT_DATA}}", format: ndjson}}]
schema:
  - name: people
    customProperties:
      - property: input
        value: {{server: here, path: people.ndjson, mode: {mode}{order}, deletes: {deletes}}}
      - {{property: maxDeleted, value: 100}}
      - {{property: maxRejected, value: 100}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true, logicalTypeOptions: {{minimum: 0}}}}
      - {{name: name, logicalType: string, required: true, logicalTypeOptions: {{maxLength: 5}}}}
      - {{name: code, logicalType: string, unique: true}}
      - {{name: at, logicalType: integer}}
      - {{name: gone, logicalType: boolean}}
roles: [{{role: "people:read", access: read, customProperties: [{{property: anonymous, value: true}}]}}]
"""
GONE = "{property: gone, equals: true}"


def contract(mode: str = "upsert", deletes: str = GONE, order: str = "") -> str:
    """The contract's text."""
    return CONTRACT.format(mode=mode, deletes=deletes, order=f", orderBy: {order}" if order else "")


def load(lab: Lab, records: Iterable[dict[str, Any]]) -> Any:
    """The outcome of a load of these records."""
    text = "".join(json.dumps(record) + "\n" for record in records)
    outcome = lab.ingest("people.people", text, "people.ndjson").outcome
    assert outcome is not None
    assert outcome.raw == outcome.accepted + outcome.rejected + outcome.duplicates
    assert outcome.accepted == outcome.inserted + outcome.updated + outcome.deleted + outcome.unchanged
    return outcome


def names(lab: Lab) -> dict[int, str]:
    """The current records."""
    return dict(lab.rows("SELECT id, name FROM people_v1.people"))


@pytest.mark.slow
def test_a_property_says_what_is_deleted_and_only_the_key_is_judged(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(contract())
    load(lab, [{"id": number, "name": "a", "code": str(number)} for number in range(4)])
    outcome = load(lab, [
        {"id": 0, "gone": True},  # without the name that a record needs
        {"id": 1, "name": "too long for a name", "gone": True},
        {"id": -2, "gone": True},  # no key
        {"id": 9, "gone": True},  # nothing to delete
        {"id": 2, "name": "b", "code": "0"},  # a unique value that a deleted record had
        {"id": 3, "name": "c", "code": "3", "gone": False},
    ])  # fmt: skip
    assert (outcome.deleted, outcome.updated, outcome.rejected, outcome.unchanged) == (2, 2, 1, 1)
    assert names(lab) == {2: "b", 3: "c"}
    with lab.serve() as client:
        changes = client.get("/data/people/v1/people/changes?since=1").json()["data"]
    assert {change["key"]["id"] for change in changes if change["change"] == "deleted"} == {0, 1}


def test_an_empty_dataset_takes_a_batch_of_deletions_and_records(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(contract())
    records = [{"id": 1, "name": "a"}, {"id": 2, "gone": True}, {"id": 1, "gone": True}, {"id": 3, "name": "c"}]
    outcome = load(lab, records)
    assert (outcome.inserted, outcome.deleted, outcome.duplicates) == (1, 0, 1)
    assert names(lab) == {3: "c"}


@pytest.mark.slow
def test_a_rejected_deletion_can_be_replayed_and_spares_what_came_later(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(contract())
    load(lab, [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}])
    first = load(lab, [{"id": 1, "gone": True}, {"id": 2, "gone": True}])
    assert first.deleted == 2
    load(lab, [{"id": 2, "name": "again"}])
    (number,) = lab.rows("SELECT id FROM decant.loads ORDER BY id OFFSET 1 LIMIT 1")[0]
    report = lab.loader().run(lab.dataset("people.people"), request=Replay(number))
    assert report.outcome is not None
    assert report.outcome.deleted == 0
    assert names(lab) == {2: "again"}


@pytest.mark.parametrize(
    ("mode", "deletes", "message"),
    [
        ("snapshot", GONE, "needs mode upsert"),
        ("append", GONE, "needs mode upsert"),
        ("upsert", "tombstones", "only a stream has tombstones"),
        ("upsert", "{property: nobody}", "a property of the dataset"),
        ("upsert", "{property: gone, is: true}", "input.deletes.is: unknown"),
        ("upsert", "{property: gone, equals: []}", "must be a value, or a list of values"),
        ("upsert", "{property: gone, equals: {}}", "must be a value, or a list of values"),
    ],
)
def test_what_cannot_be_a_deletion_is_refused(
    make_lab: Callable[..., Lab], mode: str, deletes: str, message: str
) -> None:
    with pytest.raises(CatalogError) as refused:
        make_lab(contract(mode, deletes))
    assert message in str(refused.value)


class Sent(NamedTuple):
    """A record as it is sent."""

    key: int
    at: int | None
    gone: bool


SENT = st.builds(Sent, st.integers(0, 2), st.none() | st.integers(0, 3), st.booleans())
BASES = count(step=10)


def apply(current: dict[int, tuple[int | None, int]], batch: list[Sent], number: int) -> None:
    """What a batch makes of the current records: key -> (order value, number and line of the record)."""
    for key in {sent.key for sent in batch}:
        mine = [(line, sent) for line, sent in enumerate(batch) if sent.key == key]
        wall = max((line for line, sent in mine if sent.gone and sent.at is None), default=None)
        behind = [(line, sent) for line, sent in mine if wall is None or line > wall]
        if not behind:
            current.pop(key, None)
            continue
        line, newest = max(behind, key=lambda each: (-1 if each[1].at is None else each[1].at, each[0]))
        if wall is None and key in current and rank(newest.at) < rank(current[key][0]):
            continue
        if newest.gone:
            current.pop(key, None)
        else:
            current[key] = (newest.at, number * 100 + line)


def rank(at: int | None) -> int:
    """No value is less than any."""
    return -1 if at is None else at


@settings(max_examples=examples(25, 8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(SENT, min_size=1, max_size=6), min_size=1, max_size=3))
def test_batches_with_deletions_equal_the_model(ordered_lab: Lab, batches: list[list[Sent]]) -> None:
    base = next(BASES)
    current: dict[int, tuple[int | None, int]] = {}
    for number, batch in enumerate(batches):
        load(ordered_lab, [
            {"id": base + sent.key, "name": str(number * 100 + line), "at": sent.at, "gone": sent.gone}
            for line, sent in enumerate(batch)
        ])  # fmt: skip
        apply(current, batch, number)
        found = {key - base: name for key, name in names(ordered_lab).items() if base <= key < base + 10}
        assert found == {key: str(place) for key, (_, place) in current.items()}


@pytest.fixture
def ordered_lab(make_lab: Callable[..., Lab]) -> Lab:
    """A dataset with `orderBy`, which each example uses with keys of its own."""
    return make_lab(contract(order="at"))
