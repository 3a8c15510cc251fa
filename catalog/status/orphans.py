"""Records that name a parent that is not there."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import CatalogTables


def count_orphans(connection: sa.Connection, tables: CatalogTables, dataset: Dataset) -> dict[str, int]:
    """How many records name a parent that is not there, by the properties that name it; nought is left out.

    `tables` has those of each product with foreign keys.
    """
    if not dataset.foreign_keys:
        return {}
    found = {}
    child = tables.of(dataset).current
    for key in dataset.foreign_keys:
        pair = tables.by_dataset.get((dataset.schema, key.dataset))
        if pair is None:
            continue
        parent = pair.current.alias("parent")
        own = [child.c[dataset.properties[name].column] for name in key.properties]
        theirs = [parent.c[pair.dataset.properties[name].column] for name in key.targets]
        same = sa.and_(*(left == right for left, right in zip(own, theirs, strict=True)))
        statement = (
            sa.select(sa.func.count())
            .select_from(child)
            .where(*(column.is_not(None) for column in own), ~sa.exists().where(same).select_from(parent))
        )
        if number := connection.execute(statement).scalar_one():
            found[",".join(key.properties)] = number
    return found
