"""The demo's own files: deliveries that arrive one after the other, of which a gate withholds some on purpose.

`demo/data/PRODUCT/NUMBER/FILE`: each delivery is loaded once, however often the demo is run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from commands.loads import run_loads
from runtime.shipped import DEMO_DATA

if TYPE_CHECKING:
    from catalog.model.catalog import Catalog
    from catalog.model.dataset import Dataset
    from ingest.loading.load_report import LoadReport
    from runtime.postgres.database import DatabaseUrls
    from runtime.settings.settings import Settings

ENDED = ("published", "withheld")  # a delivery that did is not brought again


@dataclass
class Delivered:
    """The loads of deliveries."""

    reports: list[LoadReport] = field(default_factory=list)
    planned: list[LoadReport] = field(default_factory=list)  # those of them that are withheld on purpose


def delivered_products() -> list[str]:
    """The products that the demo has files for."""
    return sorted(folder.name for folder in DEMO_DATA.iterdir() if folder.is_dir())


def load_deliveries(settings: Settings, urls: DatabaseUrls, catalog: Catalog) -> Delivered:
    """Loads the deliveries that were not loaded before; a later one that is withheld is planned."""
    found = Delivered()
    for product in delivered_products():
        for number, delivery in enumerate(deliveries_of(product)):
            for dataset in catalog.find(product):
                file = file_of(dataset, delivery)
                if file is None or count_ended(urls, dataset) > earlier(dataset, delivery):
                    continue
                target = settings.data_folder / product / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
                reports = run_loads(settings, urls, catalog, [dataset])
                found.reports += reports
                found.planned += [report for report in reports if number and report.status == "withheld"]
    return found


def deliveries_of(product: str) -> list[Path]:
    """The folders of a product's deliveries, in their order."""
    return sorted((DEMO_DATA / product).iterdir(), key=lambda folder: int(folder.name))


def file_of(dataset: Dataset, delivery: Path) -> Path | None:
    """The file that a delivery has for a dataset."""
    path = delivery / ((dataset.input.path if dataset.input else None) or "")
    return path if path.is_file() else None


def earlier(dataset: Dataset, delivery: Path) -> int:
    """How many deliveries of a dataset come before one."""
    before = (other for other in deliveries_of(delivery.parent.name) if int(other.name) < int(delivery.name))
    return sum(file_of(dataset, other) is not None for other in before)


def count_ended(urls: DatabaseUrls, dataset: Dataset) -> int:
    """How many deliveries of a dataset were published or withheld."""
    from ingest.inspection.load_history import list_loads
    from runtime.postgres.database import make_read_engine

    loads = list_loads(make_read_engine(urls.read), [dataset], limit=1000)
    return sum(load["kind"] == "ingest" and load["status"] in ENDED for load in loads)


def explain_planned(delivered: Delivered) -> Iterator[str]:
    """A line for each load that is withheld on purpose."""
    for report in delivered.planned:
        yield f"{report.dataset}: planned: load {report.load_id} is withheld on purpose; publish it by hand."
