"""The status of datasets: that of one is read alone, and says what the whole catalogue says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from api.database.connections import ReadConnections
from api.metadata import catalog_routes, dataset_status
from api.metadata.dataset_status import DatasetStatus, read_dataset_statuses
from catalog.model.catalog import Catalog
from runtime.postgres.pools import make_read_pool
from tests.support.lab import Lab
from tests.support.people import DERIVED, GOOD, SLA

PARTS = {
    "people": ["people@1.people"],
    "ages": ["people@1.ages", "people@1.people"],
    "oldest": ["people@1.ages", "people@1.oldest", "people@1.people"],
}


async def read_statuses(lab: Lab, catalog: Catalog) -> dict[str, DatasetStatus]:
    """The statuses of a catalogue, as the service reads them."""
    async with make_read_pool(lab.urls.read, lab.settings) as pool:
        connections = ReadConnections(pool, 2, 5)
        try:
            return await read_dataset_statuses(connections, catalog)
        finally:
            await connections.close()


@pytest.mark.parametrize("name", PARTS)
def test_the_part_of_a_catalogue_has_what_a_dataset_reads_and_nothing_else(lab: Lab, name: str) -> None:
    catalog = Lab.build(lab.settings.home / "derived", lab.urls, DERIVED).catalog
    part = catalog.part_of(catalog.find(f"people.{name}"))
    assert sorted(dataset.address for dataset in part.datasets()) == PARTS[name]
    assert len(catalog.datasets()) == 3, "the whole stays as it is"


@pytest.mark.slow
def test_one_dataset_is_read_alone_and_is_as_fresh_as_the_whole_catalogue_says(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(DERIVED + SLA.lstrip("\n"))
    for address, content in (("people.people", GOOD), ("people.ages", None), ("people.oldest", None)):
        assert lab.ingest(address, content).status == "published"
    lab.rows(
        "UPDATE decant.input_states SET last_success = now() - interval '3 days' WHERE dataset_id = 1 RETURNING 1"
    )
    for name, addresses in PARTS.items():
        statuses = asyncio.run(read_statuses(lab, lab.catalog.part_of(lab.catalog.find(f"people.{name}"))))
        assert sorted(statuses) == addresses
    with lab.serve() as client:
        (product,) = client.get("/data").json()["data"]
        assert client.get("/data/people/v1").json()["data"]["datasets"] == product["datasets"]
        for listed in product["datasets"]:
            assert listed["freshness"]["fresh"] is False, "what it reads is late"
            alone = client.get(f"/data/people/v1/{listed['dataset']}").json()["data"]
            assert {member: alone[member] for member in listed} == listed


def test_others_are_answered_while_the_catalogue_is_described(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(DERIVED)
    loops: list[bool] = []

    def note(module: ModuleType, name: str) -> None:
        call = getattr(module, name)

        def noted(*arguments: Any) -> Any:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                loops.append(False)
            else:
                loops.append(True)
            return call(*arguments)

        monkeypatch.setattr(module, name, noted)

    note(dataset_status, "evaluate_dataset_statuses")
    note(catalog_routes, "describe_listed")
    with lab.serve() as client:
        client.get("/data").raise_for_status()
    assert loops == [False, False], "it holds the event loop"
