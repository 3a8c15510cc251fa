"""The queries of derived datasets, held against all contracts: what they read, and what they must give."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from catalog.dataset import Dataset, DependencyCircleError, Product, find_read, order_by_dependency
from catalog.errors import Finding
from catalog.query import output_columns, parse_query


def check_queries(products: Mapping[tuple[str, int], Product], *, alone: bool = False) -> list[Finding]:
    """What keeps queries from running; a circle where there is one.

    `alone`: only some of the contracts are looked at, so that datasets of other products may well exist.
    """
    known = {(d.schema, d.name): d for product in products.values() for d in product.datasets.values()}
    findings = []
    for product in products.values():
        for dataset in product.datasets.values():
            line = product.dataset_lines.get(dataset.name, 1)
            for problem, severity in check_query(dataset, known, alone=alone):
                findings.append(Finding(product.file, line, dataset.name, f"input.query: {problem}", severity))
    try:
        order_by_dependency(list(known.values()))
    except DependencyCircleError as circle:
        first = circle.circle[0]
        product = products[first.product, first.major]
        line = product.dataset_lines.get(first.name, 1)
        findings.append(Finding(product.file, line, first.name, f"datasets need each other in a circle: {circle}"))
    return findings


def check_query(
    dataset: Dataset, known: Mapping[tuple[str, str], Dataset], *, alone: bool
) -> Iterator[tuple[str, str]]:
    """What is wrong with the query of one dataset, and how bad that is."""
    source = dataset.input
    if source is None or source.query is None:
        return
    for name in source.reads:
        place = find_read(dataset, name)
        if place == (dataset.schema, dataset.name):
            yield "reads the dataset that it makes", "error"
        elif alone and place[0] not in {schema for schema, _ in known}:
            yield f"{name!r} is not among the contracts looked at", "warning"
        elif place not in known:
            yield f"there is no dataset {name.removeprefix('.')!r}{suggest(dataset, name, known)}", "error"
    if not source.reads:
        yield "reads no dataset", "error"
    outputs = output_columns(parse_query(source.query))
    if outputs is None:
        return
    needed = dict.fromkeys(column for prop in dataset.properties.values() for column in prop.raw_columns)
    if missing := [column for column in needed if column not in outputs]:
        yield f"gives no column {', '.join(missing)}; it gives {', '.join(outputs)}", "error"
    for name in sorted({name for name in outputs if outputs.count(name) > 1}):
        yield f"gives two columns named {name}", "error"


def suggest(dataset: Dataset, name: str, known: Mapping[tuple[str, str], Dataset]) -> str:
    """The closest name of a dataset as a query would write it, or what there is."""
    names = {d.name if d.schema == dataset.schema else f"{d.schema}.{d.name}": d for d in known.values()}
    names.pop(dataset.name, None)
    exact = [shown for shown in names if shown.lower() == name.removeprefix(".").lower()]
    close = exact or difflib.get_close_matches(name, list(names), n=1)
    if not close:
        return f"; a query reads {', '.join(sorted(names)[:20])}" if names else ""
    target = names[close[0]]
    written = target.name if target.name.replace("_", "a").isalnum() and target.name.islower() else f'"{target.name}"'
    return f"; did you mean {written if target.schema == dataset.schema else f'{target.schema}.{written}'}?"
