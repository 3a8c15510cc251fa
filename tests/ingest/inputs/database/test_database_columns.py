"""The columns of a table are a header: one that is renamed or dropped fails the load, and deletes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.lab import Lab
from tests.support.source_database import CONTRACT, Erp, landed, load


@pytest.mark.sampled
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE orders RENAME COLUMN note TO remark",
        "ALTER TABLE orders DROP COLUMN note",
        'ALTER TABLE orders RENAME COLUMN note TO "Note"',
        "DELETE FROM orders; ALTER TABLE orders RENAME note TO remark",
    ],
)
@pytest.mark.parametrize("words", ["table: orders", "table: orders, mode: upsert, incremental: {column: updated}"])
def test_a_column_that_is_gone_is_named(erp: Erp, shop: Callable[[str], Lab], change: str, words: str) -> None:
    lab = shop(words)
    assert load(lab).status == "published"
    erp.run(change)
    report = load(lab)
    assert (report.status, report.error_code) == ("failed", "missing_columns")
    assert report.error is not None
    assert "rows lacks the columns note; it has id, " in report.error
    assert lab.rows("SELECT id, note FROM shop_v1.orders ORDER BY id") == [(1, "a"), (2, ""), (3, "c")]


def test_columns_that_no_property_reads_are_noted_and_transforms_need_theirs(
    erp: Erp, make_lab: Callable[..., Lab]
) -> None:
    text = CONTRACT.format(words="table: orders").replace(
        "name: note, logicalType: string", 'name: note, logicalType: string, transformLogic: upper("Words") || id'
    )
    lab = make_lab(text)
    report = load(lab)
    assert (report.error_code, "Words" in str(report.error)) == ("missing_columns", True)
    erp.run('ALTER TABLE orders RENAME note TO "Words"; ALTER TABLE orders ADD extra int')
    report = load(lab)
    assert report.status == "published"
    assert report.notes == ("columns that no property reads: extra",)
    assert lab.rows("SELECT note FROM shop_v1.orders ORDER BY id") == [("A1",), ("2",), ("C3",)]


def test_a_transform_of_the_whole_row_needs_none(erp: Erp, make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(
        CONTRACT.format(words="table: orders").replace(
            "name: note, logicalType: string",
            "name: note, logicalType: string, transformLogic: \"raw ->> '$.remark'\"",
        )
    )
    assert load(lab).status == "published"
    assert [row["note"] for row in landed(lab)] == ["a", "", "c"]
