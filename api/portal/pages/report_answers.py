"""What the blocks of a report show: the answers to their questions, or a note in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.http.problems import KINDS, Problem
from api.portal.asking import HIDDEN, Asking, Reply
from api.portal.charts.aggregate import GroupChart, chart_of_groups, default_view
from api.portal.charts.drawing import Chart
from api.portal.charts.specification import Specification
from api.portal.explorer.question import VIEW, Exploration
from api.portal.reports.check import check_shape, describe_problem
from api.portal.reports.model import Block, Place
from api.portal.reports.words import label_group, name_group, name_measure, show_group, show_measure, spaced

ROWS_SHOWN = 200
COUNT = "count"  # what an aggregate measures that names nothing


@dataclass(frozen=True)
class Note:
    """What stands in the place of a block that shows nothing."""

    kind: str
    title: str
    text: str
    passing: bool = False  # it may be otherwise a moment later


@dataclass(frozen=True)
class Head:
    """A dataset as the page began with it, or why it is not shown."""

    dataset: dict[str, Any]
    note: Note | None = None


@dataclass(frozen=True)
class ShownBlock:
    """A block, with what it shows."""

    block: Block
    note: Note | None = None
    dataset: str = ""
    revision: int | None = None
    href: str = ""  # the explorer with the same question, at the same revision
    limited: bool = False  # whether the caller sees some of the records only
    planned: GroupChart | None = None
    chart: Chart | None = None
    columns: Sequence[tuple[str, bool]] = ()  # name, and whether it holds measures
    rows: Sequence[Sequence[str]] = ()
    more: bool = False
    exact: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # of overviews

    @property
    def specification(self) -> Specification | None:
        """Its chart as it is to be drawn; None where there is none."""
        return self.planned.specification if self.planned else None


CLOSED = Note("closed", "Not shown to you", "This part is made of data that you may not read, or that is not there.")


async def find_head(asking: Asking, place: Place) -> Head:
    """The dataset with its revision, as the caller sees it."""
    try:
        dataset: dict[str, Any] = (await asking.get(place.path)).data
    except Problem as problem:
        return Head({}, note_of(problem))
    if not dataset["revision"]:
        text = f"{dataset['dataset']} has no revision: its first publication fills this part."
        return Head(dataset, Note("empty", "Nothing published yet", text))
    return Head(dataset)


def note_of(problem: Problem) -> Note:
    """Why a dataset or a question has no answer; Problem where none of the page can be made."""
    status = KINDS[problem.code].status
    if status in HIDDEN:
        return CLOSED
    if status == 410:
        return Note("gone", "No longer there", problem.detail)
    if status == 504:
        return Note("slow", "No answer in time", "The question took too long this time.", passing=True)
    if status in {406, 422}:
        return Note("wrong", "This question cannot be answered", describe_problem(problem))
    raise problem


async def answer_question(asking: Asking, block: Block, heads: Mapping[Place, Head]) -> ShownBlock:
    """A block with the answer to its question."""
    problems = [fault.message for fault in block.faults] or list(check_shape(block))
    if problems:
        return ShownBlock(block, Note("wrong", "This part of the report is faulty", "; ".join(problems)))
    head = heads[block.place]
    if head.note:
        return ShownBlock(block, head.note)
    question = block.question
    if question.value("at") is None:
        question = pin(question, head.dataset["revision"])
    kind = "aggregate" if question.is_aggregate else "records"
    try:
        reply = await asking.get_raw(f"{block.place.path}/{kind}", question.query)
    except Problem as problem:
        return ShownBlock(block, note_of(problem))
    return show_answer(block, head.dataset, question, reply)


def show_answer(block: Block, dataset: dict[str, Any], question: Exploration, reply: Reply) -> ShownBlock:
    """A block that shows an answer."""
    rows: list[dict[str, Any]] = reply.data
    groups = question.values("group_by")
    measures = question.values("measure") or [COUNT]
    planned: GroupChart | None = None
    if question.is_aggregate:
        words = [name_measure(each) for each in measures]
        words[0] = block.options.get("measure", words[0])
        columns = [(name_group(group), False) for group in groups] + [(word, True) for word in words]
        cells = [show_row(groups, list(row.values())) for row in rows[:ROWS_SHOWN]]
        if block.kind == "chart":
            planned = draw_groups(question, groups, words[0], rows)
    else:
        names = [name for name in (rows[0] if rows else {}) if name != "expanded"]
        columns = [(spaced(name), isinstance(rows[0][name], int | float)) for name in names]
        cells = [[show_cell(row[name]) for name in names] for row in rows[:ROWS_SHOWN]]
    return ShownBlock(
        block,
        None if rows else note_none(dataset),
        dataset["dataset"],
        reply.revision,
        f"{block.place.page}/explore?{pin(question, reply.revision or 0).address}",
        dataset["limited"],
        planned,
        columns=columns,
        rows=cells,
        more=len(rows) > ROWS_SHOWN or bool(reply.value.get("next")),
        exact=str(next(iter(rows[0].values()))) if block.kind == "figure" and rows else "",
    )


def note_none(dataset: dict[str, Any]) -> Note:
    """What stands in the place of an answer without records."""
    which = "No record that you may see" if dataset["limited"] else "No record"
    return Note("empty", "No records", f"{which} meets the conditions of this part.")


def pin(question: Exploration, revision: int) -> Exploration:
    """The question at a revision, with as many rows as before."""
    return Exploration.of([*(part for part in question.parts if part[0] != "at"), ("at", str(revision))])


def show_row(groups: Sequence[str], values: Sequence[Any]) -> list[str]:
    """The groups and measures of a row of an aggregate, as people read them."""
    shown = [show_group(group, value) for group, value in zip(groups, values, strict=False)]
    return shown + [show_measure(value) for value in values[len(groups) :]]


def show_cell(value: Any) -> str:
    """A value of a record, as it is."""
    if value is None:
        return "–"
    return str(value).lower() if isinstance(value, bool) else str(value)


def draw_groups(
    question: Exploration, groups: Sequence[str], words: str, rows: Sequence[dict[str, Any]]
) -> GroupChart | None:
    """The chart of the first measure, which `words` name, with words in the place of all names."""
    view = question.value(VIEW) or default_view(groups)
    names = [name_group(group) for group in groups]
    drawn = []
    for row in rows:
        values = list(row.values())
        # Lines and panels have axes of time; elsewhere times are labels.
        labels = [
            value if (view == "line" and not index) or view == "multiples" else label_group(group, value)
            for index, (group, value) in enumerate(zip(groups, values, strict=False))
        ]
        drawn.append(dict(zip(names, labels, strict=True)) | {words: values[len(groups)]})
    return chart_of_groups(view, groups, names, words, drawn)
