"""Publishing, held against a model in Python: any sequence of batches, every revision read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.batches import BATCHES, Record, as_csv, read
from tests.support.examples import examples
from tests.support.lab import PEOPLE, Lab


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["snapshot", "append", "upsert"])
@settings(max_examples=examples(12, 4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_every_revision_is_what_the_batches_say(make_lab: Callable[..., Lab], mode: str, batches: Any) -> None:
    lab = make_lab(PEOPLE.replace("mode: snapshot", f"mode: {mode}"))
    state: Record = {}
    revisions: list[Record] = []
    for batch in batches:
        report = lab.ingest("people.people", as_csv(batch))
        newest = dict(batch)
        before = dict(state)
        if mode == "snapshot":
            state = newest
        elif mode == "upsert":
            state |= newest
        else:
            state = newest | state
        assert report.outcome
        assert report.status == ("unchanged" if state == before else "published")
        if report.status == "published":
            revisions.append(dict(state))
        assert report.outcome.raw in {len(batch), 0}
        if report.outcome.raw:
            assert report.outcome.duplicates == len(batch) - len(newest)
    with lab.serve() as client:
        for number, expected in enumerate(revisions, 1):
            assert read(client, number) == expected
    ((count,),) = lab.rows("SELECT record_count FROM decant.datasets")
    assert count == len(state)
    overlapping = lab.rows("SELECT 1 FROM people_v1.people_history WHERE _until <= _revision")
    assert overlapping == []
