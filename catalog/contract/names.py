"""Names that PostgreSQL keeps apart in one schema: tables and indexes of all datasets of a product.

The names of indexes are made of those of tables and columns, so that `pk_x` is the key's index of a dataset `x` and
may be a dataset of its own: the second of the two could not be made.
"""

from __future__ import annotations

from collections.abc import Mapping

from catalog.document.findings import Findings
from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import name_relations


def check_names(datasets: Mapping[str, Dataset], places: Mapping[str, int], findings: Findings) -> None:
    """Errors for names that are there twice; `places` are those of the datasets in the contract."""
    found = [(name, dataset, what) for dataset in datasets.values() for what, name in name_relations(dataset)]
    # Tables first: it is the index whose name nobody has chosen.
    found.sort(key=lambda each: not each[2].startswith("table"))
    taken: dict[str, tuple[Dataset, str]] = {}
    for name, dataset, what in found:
        other = taken.setdefault(name, (dataset, what))
        if other != (dataset, what):
            findings.error(
                ("schema", places[dataset.name], "name"),
                f"its {what} would be named {name!r}, as the {other[1]} of {other[0].name!r} is: rename one"
                f" of them, or give the column or table another physicalName",
            )
