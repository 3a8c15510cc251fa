"""Marks of inputs that are asked for news only: as texts, stepped back, and in positions of before."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ingest.errors import SourceError
from ingest.inputs.raw_marks import RawWatermark, read_watermark
from tests.support.lab import Lab
from tests.support.source_database import CONTRACT, Erp, landed, load

NEW_DATA = "table: orders, mode: upsert, incremental: {column: updated}"


@pytest.mark.parametrize(
    "raw",
    [
        5,
        -(2**70),
        0.1,
        Decimal("1.10"),
        "2026-03-01 10:00",
        "",
        datetime(2026, 3, 1, 10, 0, 0, 5, tzinfo=UTC),
        datetime(2026, 3, 1),  # noqa: DTZ001 - as drivers give it
        date(2026, 3, 1),
        time(10, 30),
        timedelta(hours=-800, microseconds=1),
        b"\x00\xff",
        UUID(int=7),
    ],
)
def test_a_mark_is_kept_as_it_came(raw: Any) -> None:
    mark = RawWatermark(raw, "shown")
    kept = read_watermark(json.loads(json.dumps(mark.note())))
    assert kept == mark
    assert type(kept.raw) is type(raw)


@pytest.mark.parametrize(
    ("raw", "lag", "moments", "asked"),
    [
        ("2026-03-01 08:00:00+00", 3600, True, "2026-03-01 07:00:00+00"),
        ("2026-03-01T12:30:00.5+02:00", 3600, True, "2026-03-01T11:30:00.5+02:00"),
        ("2026-03-01T00:30Z", 3600, True, "2026-02-28T23:30Z"),
        ("2026-03-01T00:00:00.123456789Z", 0.5, True, "2026-02-28T23:59:59.623456000Z"),
        ("2026-03-01 00:00:00", 0.5, True, "2026-02-28 23:59:59"),
        ("2026-03-01", 3600, True, "2026-02-28"),
        ("100", 0.5, False, "99"),
        ("100.50", 1, False, "99.50"),
        (100, 1, False, 99),
        (datetime(2026, 3, 1), 60, True, datetime(2026, 2, 28, 23, 59)),  # noqa: DTZ001 - as drivers give it
        ("01.03.2026", 0, True, "01.03.2026"),
    ],
)
def test_a_lag_is_taken_off_in_the_form_of_the_source(raw: Any, lag: float, moments: bool, asked: Any) -> None:
    assert RawWatermark(raw).less(lag, timestamps=moments).raw == asked


@pytest.mark.parametrize(("raw", "moments"), [("01.03.2026", True), ("ten", False), (b"\x01", True)])
def test_a_lag_that_cannot_be_taken_off_is_named(raw: Any, moments: bool) -> None:
    with pytest.raises(SourceError, match=r"A lag cannot be subtracted from .* leave out input.incremental.lag"):
        RawWatermark(raw).less(60, timestamps=moments)


@pytest.mark.slow
def test_local_times_of_a_zone_lose_no_row_and_rows_without_a_mark_come_too(
    erp: Erp, make_lab: Callable[..., Lab]
) -> None:
    erp.run("ALTER TABLE orders ALTER updated TYPE timestamp; DELETE FROM orders")
    text = CONTRACT.format(words=NEW_DATA).replace(
        "logicalType: timestamp", "logicalType: timestamp, logicalTypeOptions: {defaultTimezone: America/New_York}"
    )
    lab = make_lab(text)
    erp.run("INSERT INTO orders VALUES (1, 'a', 1, '2026-03-01 20:00')")
    assert load(lab).status == "published"
    erp.run("INSERT INTO orders VALUES (2, 'b', 1, '2026-03-01 20:00'), (3, 'c', 1, '2026-03-01 21:30')")
    erp.run("INSERT INTO orders VALUES (4, 'd', 1, null), (5, 'late', 1, '2026-03-01 19:59')")
    assert load(lab).status == "published"
    assert [row["id"] for row in landed(lab)] == ["1", "2", "3", "4"]
    assert lab.rows("SELECT id, updated FROM shop_v1.orders WHERE id > 1 ORDER BY id") == [
        (2, datetime(2026, 3, 2, 1, 0, tzinfo=UTC)),
        (3, datetime(2026, 3, 2, 2, 30, tzinfo=UTC)),
        (4, None),
    ]
    # Rejected above all that is published: it is asked for again, and hides nothing.
    erp.run("INSERT INTO orders VALUES (6, 'f', 1e30, '2026-03-05 00:00'), (7, 'g', 1, '2026-03-02 00:00')")
    assert load(lab).status == "published"
    erp.run("INSERT INTO orders VALUES (8, 'h', 1, '2026-03-03 00:00')")
    assert load(lab).status == "published"
    assert [row["id"] for row in landed(lab)] == ["4", "6", "7", "8"]
    assert lab.rows("SELECT array_agg(id ORDER BY id) FROM shop_v1.orders") == [([1, 2, 3, 4, 7, 8],)]


@pytest.mark.slow
def test_a_position_from_before_is_gone_on_from_with_a_day_to_spare(erp: Erp, shop: Callable[[str], Lab]) -> None:
    lab = shop(NEW_DATA)
    assert load(lab).status == "published"
    old = json.dumps({"property": "updated", "mark": "2026-03-01T08:00:00Z"})
    lab.rows("UPDATE decant.input_states SET position = %s::jsonb RETURNING 1", old)
    erp.run("INSERT INTO orders VALUES (4, 'd', 4, '2026-02-28 08:00Z'), (5, 'e', 5, '2026-02-28 07:59Z')")
    assert load(lab).status == "published"
    assert [row["id"] for row in landed(lab)] == ["2", "3", "4"]
    assert load(lab).status == "unchanged" or [row["id"] for row in landed(lab)] == ["2", "3"]


def test_marks_of_another_table_mean_nothing(erp: Erp, shop: Callable[[str], Lab]) -> None:
    lab = shop(NEW_DATA)
    assert load(lab).status == "published"
    erp.run("CREATE TABLE others AS SELECT id + 10 AS id, note, amount, updated FROM orders")
    text = (lab.settings.contracts / "contract0.odcs.yaml").read_text().replace("table: orders", "table: others")
    (lab.settings.contracts / "contract0.odcs.yaml").write_text(text)
    again = Lab(lab.settings, lab.urls)
    assert load(again).status == "published"
    assert [row["id"] for row in landed(again)] == ["12", "13"]
