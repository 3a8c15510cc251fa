"""Reports against contracts, without a database: datasets, properties, parameters, views. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from api.datasets.aggregates_parameters import AggregateValidator
from api.http.problems import Problem
from api.portal.explorer.question import VIEW, VIEWS
from api.portal.explorer.views import views_of
from api.portal.reports.model import Block, Fault, Place, Report
from api.query.parameters import Validator
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, links_of
from runtime.near_misses import find_near


def check_report(report: Report, catalog: Catalog) -> list[Fault]:
    """Everything that is wrong with a report, by line."""
    found = [*report.all_faults]
    for block in report.blocks:
        found += [Fault(block.line, block.name, message) for message in check_block(block, catalog)]
    return sorted(found, key=lambda fault: fault.line)


def check_block(block: Block, catalog: Catalog) -> Iterator[str]:
    """What the contracts say against a block."""
    datasets = []
    for place in block.places:
        dataset, message = find_place(place, catalog)
        if message:
            yield message
        datasets.append(dataset)
    if block.is_question and block.places:
        yield from check_shape(block)
        if dataset := datasets[0]:
            yield from check_question(block, dataset)


def find_place(place: Place, catalog: Catalog) -> tuple[Dataset | None, str]:
    """The dataset at a place, where it names one, and what is wrong with the place."""
    if not place.product:
        return None, ""
    name, major, dataset = place.named
    product = catalog.by_address.get((name, major))
    if product is None:
        near = suggest(f"{name}/v{major}", [f"{known}/v{number}" for known, number in catalog.by_address])
        return None, f"no contract has the product {name}/v{major}{near}"
    if not dataset or dataset in product.datasets:
        return product.datasets.get(dataset), ""
    return None, f"the product {product.id} has no dataset {dataset!r}{suggest(dataset, list(product.datasets))}"


def check_shape(block: Block) -> Iterator[str]:
    """What keeps a question from being shown in the way that its block asks for."""
    question = block.question
    groups, view = question.values("group_by"), question.value(VIEW)
    if question.value("cursor") is not None:
        yield "cursor: a block shows the first page of its question"
    if view is not None and view not in VIEWS:
        yield f"view: {view!r} is no view of the explorer{suggest(view, VIEWS)}; known are {', '.join(VIEWS)}"
    if block.kind == "chart":
        fitting = [each for each in views_of(question, groups) if each != "table"]
        if not fitting:
            yield "a chart needs group_by; without it, use a table or a figure"
        elif view == "table":
            yield "view=table draws nothing: use a block `table`, or another view"
        elif view in VIEWS and view not in fitting:
            yield f"view={view} does not fit these groups; {', '.join(fitting)} do"
    if block.kind == "figure":
        if groups or not question.is_aggregate or len(question.values("measure")) != 1:
            yield "a figure has one measure, and no group"
        if "label" not in block.options:
            yield "label: is missing: a figure says what it is"


def check_question(block: Block, dataset: Dataset) -> Iterator[str]:
    """What the API would refuse, in its words."""
    related = tuple(links_of(dataset))
    validator = Validator(dataset, expandable=related)
    query = block.question.query.encode()
    try:
        if block.question.is_aggregate:
            AggregateValidator(validator).parse(query)
        else:
            validator.parse(query)
    except Problem as problem:
        yield describe_problem(problem)


def describe_problem(problem: Problem) -> str:
    """A problem of a question in one sentence, with what is taken instead."""
    offered = [error.get("allowed") for error in problem.errors or []]
    allowed = [str(name) for names in offered if isinstance(names, list) for name in names]
    return problem.detail.rstrip(".") + (f"; did you mean {' or '.join(map(repr, allowed[:3]))}?" if allowed else "")


def suggest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """The known name that was probably meant."""
    near = find_near(name, known)
    return f"; did you mean {near!r}?" if near else ""
