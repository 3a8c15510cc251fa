"""Checks the SQL of derived datasets and quality rules against all contracts: inputs and result columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from catalog.model.classification import inherit_classifications
from catalog.model.dataset import Dataset, Product
from catalog.model.dependencies import DependencyCircleError, find_read, order_by_dependency
from catalog.model.readable_datasets import Readings, UnreadableError
from catalog.model.rule_text import fill_rule
from catalog.sql.query import QueryTextError, find_tables, output_columns, parse_query
from runtime.errors import Finding

Products = Mapping[tuple[str, int], Product]
Problems = Iterator[tuple[str, str]]  # what is wrong, and how bad that is


def check_queries(products: Products, *, alone: bool = False) -> tuple[Products, list[Finding]]:
    """The products with the classifications that derived properties inherit, and what keeps queries from running.

    `alone`: only some of the contracts are looked at, so that datasets of other products may well exist.
    """
    readings = Readings(products.values())
    known = {(d.schema, d.name): d for product in products.values() for d in product.datasets.values()}
    findings = []
    for product in products.values():
        for dataset in product.datasets.values():
            line = product.dataset_lines.get(dataset.name, 1)
            for check in (check_query, check_rules):
                for problem, severity in check(dataset, readings, known, alone=alone):
                    findings.append(Finding(product.file, line, dataset.name, problem, severity))
    try:
        ordered = order_by_dependency(list(known.values()))
    except DependencyCircleError as circle:
        first = circle.circle[0]
        product = products[first.product, first.major]
        line = product.dataset_lines.get(first.name, 1)
        findings.append(
            Finding(product.file, line, first.name, f"datasets depend on each other in a cycle: {circle}")
        )
        return products, findings
    products, inherited = inherit_classifications(products, readings, ordered)
    return products, [*findings, *inherited]


def check_query(
    dataset: Dataset, readings: Readings, known: Mapping[tuple[str, str], Dataset], *, alone: bool
) -> Problems:
    """What is wrong with the query of one dataset."""
    source = dataset.input
    if source is None or source.query is None:
        return
    for name in source.reads:
        table_key = find_read(dataset, name)
        if table_key == (dataset.schema, dataset.name):
            yield "input.query: must not read its own dataset", "error"
        else:
            for problem, severity in check_read(dataset, name, readings, known, alone=alone):
                yield f"input.query: {problem}", severity
    if not source.reads:
        yield "input.query: must read a dataset", "error"
    outputs = output_columns(parse_query(source.query))
    if outputs is None:
        return
    needed = dict.fromkeys(column for prop in dataset.properties.values() for column in prop.raw_columns)
    if missing := [column for column in needed if column not in outputs]:
        yield f"input.query: lacks the columns {', '.join(missing)}; it returns {', '.join(outputs)}", "error"
    for name in sorted({name for name in outputs if outputs.count(name) > 1}):
        yield f"input.query: returns two columns named {name}", "error"


def check_rules(
    dataset: Dataset, readings: Readings, known: Mapping[tuple[str, str], Dataset], *, alone: bool
) -> Problems:
    """What is wrong with the tables that the quality rules of one dataset read."""
    severity = "error" if dataset.input is not None else "warning"
    for gate in dataset.gates:
        if gate.kind != "sql":
            continue
        try:
            tables = find_tables(parse_query(fill_rule(dataset, gate), deterministic=False))
        except QueryTextError as error:
            yield f"quality rule {gate.name}: {error}", severity
            continue
        for name in dict.fromkeys(table.read for table in tables):
            for problem, found in check_read(dataset, name, readings, known, alone=alone, physical=True):
                yield f"quality rule {gate.name}: {problem}", found if found == "warning" else severity


def check_read(
    dataset: Dataset,
    name: str,
    readings: Readings,
    known: Mapping[tuple[str, str], Dataset],
    *,
    alone: bool,
    physical: bool = False,
) -> Problems:
    """Why a table cannot be read."""
    table_key = find_read(dataset, name)
    try:
        found = readings.find(dataset, *table_key, physical=physical)
    except UnreadableError as error:
        yield str(error), "error"
        return
    if found is None and alone and table_key[0] not in readings.by_schema:
        yield f"unknown product {name!r}", "warning"
    elif found is None:
        yield f"unknown dataset {name.removeprefix('.')!r}{suggest(dataset, name, known)}", "error"


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
