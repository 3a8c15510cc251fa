"""Values that a database holds from before its contracts forbade them."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.model.dataset import Product
from catalog.storage.dataset_tables import build_tables


def find_large_integers(connection: sa.Connection, product: Product) -> list[str]:
    """A warning for each plain integer property of which a current record holds more than JSON readers keep.

    One pass over the table of each dataset that has such a property.
    """
    tables = build_tables([product])
    warnings = []
    for dataset in product.datasets.values():
        bounded = [(prop, prop.type.bounds) for prop in dataset.properties.values() if prop.type.bounds]
        if not bounded:
            continue
        columns = tables.of(dataset).current.c
        beyond = [
            sa.func.coalesce(sa.func.bool_or(sa.not_(columns[prop.column].between(*bounds))), sa.false())
            for prop, bounds in bounded
        ]
        row = connection.execute(sa.select(*beyond)).one()
        warnings += [
            f"{dataset.address}: {prop.name} contains integers beyond ±{bounds[1]}, which are rejected"
            f" from now on: `physicalType: bigint` accepts them, as text in JSON"
            for (prop, bounds), found in zip(bounded, row, strict=True)
            if found
        ]
    return warnings
