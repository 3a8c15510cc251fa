"""Batches of records drawn at random."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.lab import walk

Record = dict[int, str | None]

BATCHES = st.lists(
    st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=12),
    min_size=1,
    max_size=6,
)


def as_csv(batch: list[tuple[int, str | None]]) -> str:
    return "id,name,age,born\n" + "".join(
        f"{key},x,,\n" if value is None else f"{key},{value},1,\n" for key, value in batch
    )


def read(client: Any, revision: int) -> Record:
    found = walk(client, f"/data/people/v1/people/records?at={revision}&limit=3")
    return {record["id"]: None if record["age"] is None else record["name"] for record in found}
