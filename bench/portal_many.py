"""The pages that list what there is, over a catalogue of many datasets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench.many_datasets import publish_all, write_contracts
from bench.portal_pages import CONSOLE, Limits, Measured
from bench.testbed import Testbed
from catalog.contract.load import load_catalog
from catalog.migration.migrate import migrate
from runtime.postgres.database import DatabaseUrls

DATABASE = "bench_many"
LISTED = Limits(120)  # whatever the number of datasets
LISTS = (
    Measured("catalogue", "/", LISTED),
    Measured("browse", "/browse", LISTED),
    Measured("search", "/browse?q=station", LISTED),
)
OPERATOR_LISTS = (
    Measured("console", "/console", CONSOLE),
    Measured("status", "/operations/status", CONSOLE),
)


@contextmanager
def open_many(testbed: Testbed, datasets: int) -> Iterator[tuple[Testbed, DatabaseUrls]]:
    """A testbed with a migrated catalogue of so many datasets, each of which was published."""
    folder = testbed.settings.home.parent / "many"
    (folder / "contracts").mkdir(parents=True)
    for number, text in enumerate(write_contracts(datasets)):
        (folder / "contracts" / f"region-{number:03}.odcs.yaml").write_text(text)
    settings = testbed.settings.model_copy(update={"contracts": folder / "contracts"})
    large = replace(testbed, settings=settings, catalog=load_catalog(settings))
    urls = large.create_database(DATABASE, "template0")
    migrate(settings, urls.owner, large.catalog)
    publish_all(urls.owner)
    yield large, urls
