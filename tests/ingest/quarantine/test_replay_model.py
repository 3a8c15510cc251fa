"""Replays, held against a model in Python: whatever was loaded, the newest word on each key comes through."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.lab import Lab
from tests.support.replays import HEAD, STRICT, mend, people, replay

# Ages over 50 are rejected until the contract is mended.
BATCH = st.dictionaries(st.integers(1, 5), st.sampled_from([10, 20, 70, 80]), min_size=1, max_size=5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["upsert", "snapshot"])
@settings(max_examples=examples(8, 3), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(BATCH, min_size=1, max_size=5))
def test_after_a_replay_each_key_has_its_newest_record(
    make_lab: Callable[..., Lab], mode: str, batches: list[dict[int, int]]
) -> None:
    lab = make_lab(STRICT.replace("mode: snapshot", f"mode: {mode}"))
    expected: dict[int, int] = {}
    for batch in batches:
        lab.ingest("people.people", HEAD + "".join(f"{key},x,{age},\n" for key, age in batch.items()))
        expected = expected | batch if mode == "upsert" else batch
    report = replay(mend(lab))
    assert {key: age for key, (_, age) in people(lab).items()} == expected
    assert lab.rows("SELECT count(*) FROM decant.rejected_records WHERE state = 'open'") == [(0,)]
    assert report.outcome.raw == report.outcome.accepted + report.outcome.rejected + report.outcome.duplicates
