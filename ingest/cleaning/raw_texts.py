"""SQL for the texts of raw columns, before anything is made of them: blanks around them, words for no value. Pure."""

from __future__ import annotations

from catalog.model.dataset import Dataset, Property, keeps_blanks
from runtime.duckdb_quoting import quote_text

BARE = "_bare"  # a raw text without the blanks around it, beside the one that keeps them


def choose_texts(dataset: Dataset, places: dict[str, str]) -> dict[str, str]:
    """SQL for the text at the place of each raw column, without the blanks around it unless a property keeps them.

    A property that does not, and reads the column as it is, then finds the text without them at a place beside it.
    """
    keeping = {prop.name: keeps_blanks(dataset, prop) for prop in dataset.properties.values()}
    kept = {column for prop in dataset.properties.values() if keeping[prop.name] for column in prop.raw_columns}
    bare = {
        prop.raw_columns[0]
        for prop in dataset.properties.values()
        if prop.transform is None and not keeping[prop.name]
    }
    texts = {index: index if name in kept else trim(index) for name, index in places.items()}
    return texts | {f"{index}{BARE}": trim(index) for name, index in places.items() if name in kept & bare}


def find_place(dataset: Dataset, prop: Property, places: dict[str, str], texts: dict[str, str]) -> str | None:
    """Where the text of a property lies that is read as it is; None where nothing has it, or a transform makes it."""
    index = places.get(prop.raw_columns[0]) if prop.transform is None else None
    if index is not None and not keeps_blanks(dataset, prop) and f"{index}{BARE}" in texts:
        return f"{index}{BARE}"
    return index


def find_null_words(
    dataset: Dataset, places: dict[str, str], texts: dict[str, str], nulls: tuple[str, ...]
) -> dict[int, str]:
    """The properties, by their place, whose raw text a reason shows: a null word stood where a value is required."""
    if not any(nulls):
        return {}
    found = {
        index: find_place(dataset, prop, places, texts)
        for index, prop in enumerate(dataset.properties.values())
        if prop.required
    }
    return {index: place for index, place in found.items() if place is not None}


def trim(column: str) -> str:
    """A raw column without blanks around it; looking for a blank first costs a quarter of trimming them all."""
    return (
        f"CASE WHEN contains({column}, ' ') OR contains({column}, '\t') THEN trim({column}, ' \t') ELSE {column} END"
    )


def clear_nulls(column: str, nulls: tuple[str, ...]) -> str:
    """A raw column, null where it is one of the null tokens."""
    for token in nulls:
        column = f"nullif({column}, {quote_text(token)})"
    return column
