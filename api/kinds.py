"""The kinds of questions about a dataset: routes, links and the OpenAPI document follow from this list."""

from __future__ import annotations

from api.datasets.aggregates import Aggregate
from api.datasets.changes import Changes
from api.datasets.kind import Kind
from api.datasets.records import Page, Record
from api.datasets.revisions import Revisions
from api.exports.export import Export
from api.exports.sizes import Sizes
from api.following.follow import Follow

KINDS: tuple[Kind, ...] = (
    Page(),
    Record(),
    Aggregate(),
    Changes(),
    Revisions(),
    Follow(),
    Export(),
    Sizes(),
)
