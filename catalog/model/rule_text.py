"""The placeholders for a table or a column in the SQL of a quality rule. Pure."""

from __future__ import annotations

import re

from catalog.model.dataset import Dataset, Gate
from catalog.sql.query import quote

PLACEHOLDER = re.compile(r"\$?\{(\w[^}]*)\}")
OBJECT_WORDS = ("object", "table", "schema")
PROPERTY_WORDS = ("property", "column")


def fill_rule(dataset: Dataset, gate: Gate) -> str:
    """The rule's SQL with the names of its table and its column in it."""
    prop = dataset.properties.get(gate.property or "")
    return fill_placeholders(gate.query or "", dataset.schema, dataset.table, prop.column if prop else None)


def fill_placeholders(query: str, schema: str, table: str, column: str | None) -> str:
    """A text with these names in the place of their placeholders."""
    names = dict.fromkeys(OBJECT_WORDS, f"{quote(schema)}.{quote(table)}")
    if column is not None:
        names |= dict.fromkeys(PROPERTY_WORDS, quote(column))
    return PLACEHOLDER.sub(lambda match: names[match[1]], query)
