"""The classifications that derived properties inherit from what they are made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from catalog.model.dataset import CLASSIFIED, Dataset, Product, Property
from catalog.model.dependencies import find_read
from catalog.model.readable_datasets import Readings, Source, UnreadableError
from catalog.sql.data_flow import Flow, trace_query
from catalog.sql.query import parse_query
from runtime.errors import Finding

Products = Mapping[tuple[str, int], Product]
Sources = Mapping[str, Source]  # as the query calls them
WAYS_OUT = "or give a reason against it: `declassified: <reason>` in its customProperties"


def inherit_classifications(
    products: Products, readings: Readings, ordered: Iterable[Dataset]
) -> tuple[Products, list[Finding]]:
    """The products with every property as classified as what it is made of; what a contract should say of that.

    `ordered`: the datasets, each after those that it reads. `readings` follows.
    """
    changed = dict(products)
    findings = []
    for dataset in ordered:
        key = (dataset.product, dataset.major)
        raised = dict(find_raised(dataset, find_sources(dataset, readings)))
        if not raised:
            continue
        product = changed[key]
        properties = {
            name: replace(prop, classification=raised[name][0]) if name in raised else prop
            for name, prop in dataset.properties.items()
        }
        derived = replace(dataset, properties=properties)
        changed[key] = replace(product, datasets={**product.datasets, dataset.name: derived})
        readings.by_schema[dataset.schema] = changed[key]
        line = product.dataset_lines.get(dataset.name, 1)
        for name, (word, origin) in raised.items():
            severity, problem = describe(dataset, name, word, origin)
            findings.append(Finding(product.file, line, dataset.name, problem, severity))
    return changed, findings


def describe(dataset: Dataset, name: str, word: str, origin: str) -> tuple[str, str]:
    """How bad it is that a property inherits a classification, and what to do about it."""
    made = f"{name} is {word}, since it is derived from {origin}"
    if name in dataset.key:
        return "error", f"{made}, and a key cannot be classified: choose another key, {WAYS_OUT}"
    return "warning", f"{made}: write `classification: {word}`, {WAYS_OUT}"


def find_sources(dataset: Dataset, readings: Readings) -> Sources:
    """What the query of a dataset reads, as far as it may."""
    found: dict[str, Source] = {}
    for read in dataset.input.reads if dataset.input else ():
        try:
            source = readings.find(dataset, *find_read(dataset, read))
        except UnreadableError:
            continue
        if source is not None:
            found[read] = source
    return found


def find_raised(dataset: Dataset, sources: Sources) -> Iterator[tuple[str, tuple[str, str]]]:
    """(property, (classification, the property that it comes from)) for what inherits more than it says."""
    if not any(
        is_classified(source.dataset.properties[name]) for source in sources.values() for name in source.properties
    ):
        return
    query = (dataset.input and dataset.input.query) or ""
    flow = trace_query(parse_query(query), {read: source.properties for read, source in sources.items()})
    for prop in dataset.properties.values():
        word, origin = find_highest(prop, flow, sources)
        if rank(word) > rank(prop.classification) and prop.declassified is None:
            yield prop.name, (word, origin)


def find_highest(prop: Property, flow: Flow, sources: Sources) -> tuple[str, str]:
    """The highest classification among what a property is made of, and where it comes from."""
    found = ("", "")
    for column in prop.raw_columns:
        for read, name in sorted(flow.of(column)):
            source = sources[read].dataset
            word = source.properties[name].classification
            if rank(word) > rank(found[0]):
                found = (word, f"{source.address}.{name}")
    return found


def is_classified(prop: Property) -> bool:
    """Whether reading the property takes a scope of its own."""
    return prop.classification in CLASSIFIED


def rank(word: str) -> int:
    """How high a classification is; what is open to every reader is 0."""
    return CLASSIFIED.index(word) + 1 if word in CLASSIFIED else 0
