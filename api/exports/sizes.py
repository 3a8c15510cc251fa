"""How large the exports of a dataset are: exact for a file that is kept already, an estimate for every other format.

No export is made for it. An estimate is the mean size of a sample of the records, times their number, and what
a file has without records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import sqlalchemy as sa
from starlette.types import Receive, Send

from api.database.answer_cache import Finished
from api.database.statement import Statement
from api.datasets.kind import Asked, send_answer
from api.datasets.whole_answer import revision_headers
from api.exports.export import Export
from api.exports.formats import FORMATS
from api.exports.formats.export_format import ExportFormat, FiledFormat
from api.exports.query import parse_export
from api.exports.resources import ExportResources
from api.http.conditional import make_tag, matches
from api.http.negotiation import JSON, MediaType
from api.http.problems import closest, parameter_problem
from api.http.query_string import split_query
from api.openapi_parts.names import operation_id
from api.openapi_parts.parts import REVISION, UNCHANGED, answer, problem_answers
from api.query.question import Question, Target
from api.query.view import View
from api.sql.json_page import document_of, shown
from api.sql.selection import revision_rows, with_heads
from api.sql.statement_text import render
from catalog.model.dataset import Dataset
from runtime.json_types import JsonObject

SAMPLED = 1000  # records whose size is measured
KEPT = b"sizes"  # tells these tags from those of the sample
NOTHING: Any = sa.literal_column("0", sa.Integer)
EXPORT = Export()


class Sizes:
    """The size of each export format, of the newest revision."""

    name = "sizes"
    path = "/sizes"
    linked = True
    media_types: tuple[MediaType, ...] = (JSON,)

    def parse(self, view: View, target: Target) -> Question:
        """The question, which has no parameters."""
        for name, _ in split_query(target.query_string):
            raise parameter_problem("unknown_parameter", name, "unknown parameter", closest(name, ()))
        return Question(target, b"")

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its operation."""
        return sizes_operation(dataset)

    async def deliver(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Sends the sizes, or says that the caller has them."""
        cache, tag = asked.resources.cache, asked.tag(asked.pin.revisions)
        sample = cache.get(tag) or await cache.make(tag, lambda: measure_sample(asked, tag))
        asked.timings.record("database")
        values, document = orjson.loads(sample.body)
        files: ExportResources = asked.scope["app"].state.exports
        data = [describe_size(asked, files, form, sample.revision, (values, document)) for form in FORMATS]
        body = orjson.dumps({"data": data, "revision": sample.revision})
        # A file that is made later makes another answer of the same revision.
        tag = make_tag(asked.pin.epoch, (sample.revision,), asked.view.identity, KEPT, body)
        fields = [
            (b"etag", tag.encode()),
            *revision_headers(asked.pin.epoch, sample.revision),
            *asked.common,
        ]
        if asked.if_none_match is not None and matches(asked.if_none_match, tag):
            await send_answer(asked, send, 304, fields)
            return
        fields += [(b"content-type", JSON.content_type.encode()), (b"content-length", b"%d" % len(body))]
        await send_answer(asked, send, 200, fields, body)


async def measure_sample(asked: Asked, tag: str) -> Finished:
    """The mean bytes of a record's values and of its JSON text, both null where there is no record."""
    view, reader = asked.view, asked.resources.reader
    statement: Statement = view.statement(Sizes.name, lambda: compile_sample(view))
    read = await reader.read(view, Sizes.name, statement, {"sampled": SAMPLED})
    values, document = (None if value is None else float(value) for value in read.payload)
    revision = read.revisions[0]
    tag = tag if asked.pin.revisions == (revision,) else asked.tag((revision,))
    return Finished(tag, (), orjson.dumps([values, document]), revision)


def compile_sample(view: View) -> Statement:
    """The statement: of a number of records, the mean bytes of their values as text, and of their JSON text."""
    rows = revision_rows(view)
    sample = sa.select(rows).limit(sa.bindparam("sampled", type_=sa.Integer)).subquery("_sample")
    properties = list(view.shown.values())
    lengths: Sequence[Any] = [
        sa.func.coalesce(sa.func.octet_length(sa.cast(shown(sample, prop).element, sa.Text)), NOTHING)
        for prop in properties
    ]
    values: Any = sum(lengths, NOTHING)
    document = sa.func.octet_length(document_of(sample, properties))
    means = sa.select(
        sa.cast(sa.func.avg(values), sa.Double).label("mean_values"),
        sa.cast(sa.func.avg(document), sa.Double).label("mean_document"),
    ).select_from(sample)
    found = means.subquery("_means")
    return render(with_heads([view], [found.c.mean_values, found.c.mean_document], found))


def describe_size(
    asked: Asked,
    files: ExportResources,
    form: ExportFormat,
    revision: int,
    means: tuple[float | None, float | None],
) -> dict[str, Any]:
    """A format with its size; null where it may not be told: who sees some records does not learn how many."""
    kept = kept_bytes(asked, files, form, revision)
    if kept is not None:
        return {"format": form.name, "bytes": kept, "exact": True}
    head = asked.pin.heads[0]
    estimate = None
    if not asked.view.row_filtered and head.revision == revision and None not in means:
        values, document = means
        properties, model = asked.view.shown.values(), form.size
        width = len(properties)  # separators, and the end of the line
        of_record = (document or 0) + 1 if form.lines else ((values or 0) + width) * model.factor
        described = sum(len((prop.description or "").encode()) for prop in properties)
        whole = model.empty + model.of_property * width + model.of_description * described
        estimate = round(whole + of_record * head.record_count)
    return {"format": form.name, "bytes": estimate, "exact": False}


def kept_bytes(asked: Asked, files: ExportResources, form: ExportFormat, revision: int) -> int | None:
    """The bytes of the file that this caller would be sent; None where it has not been made."""
    if not isinstance(form, FiledFormat) or not revision:
        return None
    question = parse_export(asked.view, Target(asked.question.query.path, f"at={revision}".encode()))
    exported = replace(asked, kind=EXPORT, question=question, media_type=form, coding="identity")
    path = files.files.path_of(asked.view.dataset, exported.tag((revision,)), form)
    try:
        return files.files.metadata_of(path).facts.st_size
    except OSError:
        return None


def sizes_operation(dataset: Dataset) -> JsonObject:
    """How large each export is."""
    size: JsonObject = {
        "type": "object",
        "required": ["format", "bytes", "exact"],
        "properties": {
            "format": {"type": "string", "enum": [form.name for form in FORMATS]},
            "bytes": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "The size; null for callers who see some of the records only, and before the first"
                " publication.",
            },
            "exact": {
                "type": "boolean",
                "description": "Whether it is the size of a finished file; otherwise an estimate from a sample.",
            },
        },
    }
    schema: JsonObject = {
        "type": "object",
        "required": ["data", "revision"],
        "properties": {"data": {"type": "array", "items": size}, "revision": REVISION},
    }
    return {
        "operationId": operation_id("get_sizes", dataset),
        "summary": f"Sizes of the exports of {dataset.name}",
        "description": "The size of the whole export in each format, at the current revision. No export is made for"
        " it: a file that is cached has its exact size, every other format an estimate.",
        "parameters": [],
        "responses": {
            "200": answer("The sizes.", schema),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 422, 429, 503, 504),
        },
    }
