"""slaProperties: what Decant acts on, and what each line that it cannot hold is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.contract.load import lint_contracts
from catalog.model.service_levels import Schedule, Sla
from runtime.errors import Finding
from runtime.settings.settings import load_settings

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: data, format: csv}
schema:
  - name: sales
    physicalName: sales_t
    customProperties: [{property: input, value: {server: here, path: a.csv, mode: append}}]
    properties: &P
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: sold_at, logicalType: timestamp}
  - name: stock.items
    customProperties: [{property: input, value: {server: here, path: b.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: counted, logicalType: date}
slaProperties:
""".replace(" &P", "")
FIRST_LINE = CONTRACT.count("\n") + 1

Read = Callable[..., tuple[Sla | None, list[Finding]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a contract with these service levels."""

    def read_levels(*levels: str) -> tuple[Sla | None, list[Finding]]:
        (tmp_path / "shop.yaml").write_text(CONTRACT + "".join(f"  - {level}\n" for level in levels))
        catalog, findings = lint_contracts(load_settings(contracts=tmp_path, home=tmp_path))
        product = catalog.products.get(("shop", 1))
        return (product.sla if product else None), findings

    return read_levels


def test_a_contract_without_service_levels_promises_nothing(read: Read) -> None:
    assert read("{property: generalAvailability, value: 2022-05-12T09:30:10-08:00}") == (Sla(), [])


def test_everything_that_decant_acts_on_is_read(read: Read) -> None:
    sla, findings = read(
        '{property: frequency, value: 1, unit: d, scheduler: cron, schedule: "0 6 * * *"}',
        '{property: frequency, value: 1, unit: h, scheduler: cron, schedule: "@hourly", element: stock.items}',
        "{property: latency, value: 2, unit: d, element: sales.sold_at}",
        "{property: retention, value: 90, unit: days, element: sales_t.sold_at}",
        "{property: endOfData, value: 2026-12-31T06:00:00Z}",
        "{property: endOfSupport, value: 2027-01-31}",
        '{property: endOfLife, value: "2028-01-31T12:00:00+02:00"}',
    )
    assert findings == []
    assert sla == Sla(
        schedules=(Schedule("0 6 * * *"), Schedule("@hourly", "stock.items")),
        latency=timedelta(days=2),
        latency_element=("sales", "sold_at"),
        retention=timedelta(days=90),
        retention_elements={"sales": "sold_at"},
        end_of_data=datetime(2026, 12, 31, 6, tzinfo=UTC),
        end_of_support=datetime(2027, 1, 31, tzinfo=UTC),
        end_of_life=datetime(2028, 1, 31, 10, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("value: 90, unit: s", timedelta(seconds=90)),
        ("value: 1.5, unit: min", timedelta(seconds=90)),
        ('value: "4", unit: Hours', timedelta(hours=4)),
        ("value: 2, unit: wk", timedelta(days=14)),
        ("value: 3, unit: mo", timedelta(days=90)),
        ("value: 3, unit: y", timedelta(days=1095)),
        ("value: P1DT12H", timedelta(hours=36)),
        ("value: P1Y", timedelta(days=365)),
        ("value: Unlimited", None),
    ],
)
def test_lengths_of_time_are_read_in_the_units_of_the_standard(
    read: Read, value: str, expected: timedelta | None
) -> None:
    sla, findings = read(f"{{property: retention, {value}}}")
    assert findings == []
    assert sla is not None
    assert sla.retention == expected


@pytest.mark.parametrize(
    ("level", "path", "message"),
    [
        ("retention, value: 9, unit: moon", "unit", "'moon' is not a unit of time; units are s, min, h, d, w, mo, y"),
        ("retention, value: 9", "", "a unit of time is missing"),
        ("retention, value: 9, unit: m", "unit", "'m' is ambiguous: use min or mo"),
        ("retention, value: -9, unit: d", "value", "-9 is not a duration"),
        ("retention, value: 0, unit: d", "value", "0 is not a duration"),
        ("retention, value: true, unit: d", "value", "True is not a duration"),
        ("retention, value: 1e300, unit: d", "value", "1e+300 is not a duration"),
        ("retention, value: PT, unit: d", "value", "'PT' is not a duration"),
        ("latency, value: soon, unit: d", "value", "'soon' is not a duration such as 90 with unit d"),
        (
            "latency, value: 2, unit: d, element: sales.id",
            "element",
            "sales.id is a integer: must be a date or timestamp",
        ),
        ('frequency, value: 1, scheduler: cron, schedule: "61 * * * *"', "schedule", "out of range"),
        ('frequency, value: 1, scheduler: cron, schedule: "0 0 30 2 *"', "schedule", "failed to find next date"),
        ('frequency, value: 1, scheduler: cron, schedule: "0 0 0 * * *"', "schedule", "five fields"),
        ('frequency, value: 1, scheduler: cron, schedule: "R R * * *"', "schedule", "five fields"),
        ("frequency, value: 1, scheduler: cron", "schedule", "'' is not a cron expression"),
        ("endOfLife, value: someday", "value", "'someday' is not a date"),
    ],
)
def test_what_cannot_be_held_is_an_error_with_its_line(read: Read, level: str, path: str, message: str) -> None:
    sla, findings = read(f"{{property: {level}}}")
    (found,) = findings
    assert sla is None
    assert (found.severity, found.line) == ("error", FIRST_LINE)
    assert found.path == ".".join(filter(None, ("slaProperties[0]", path)))
    assert message in found.message


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("latency, value: 2, unit: d, element: sale.sold_at", "unknown element 'sale.sold_at'"),
        ("latency, value: 2, unit: d, element: sales.sold", "did you mean 'sales.sold_at'?"),
        ("latency, value: 2, unit: d, element: 'sales.sold_at, stock.items.counted'", "only sales.sold_at is used"),
        ("retention, value: 2, unit: d, element: stock.items.counted", "records of stock.items are kept"),
        ("frequency, value: 2, scheduler: airflow, schedule: x", "'airflow' is not supported; supported is 'cron'"),
        ('frequency, value: 1, scheduler: cron, schedule: "0 6 * * *", element: sals', "did you mean 'sales'?"),
    ],
)
def test_what_is_not_applied_is_a_warning(read: Read, level: str, message: str) -> None:
    sla, findings = read(f"{{property: {level}}}")
    (found,) = findings
    assert sla is not None
    assert found.severity == "warning"
    assert message in found.message


def test_two_promises_of_one_kind_are_told_apart(read: Read) -> None:
    week = "{property: latency, value: 1, unit: w}"
    sla, findings = read(week, "{property: latency, value: 1, unit: d}")
    assert sla is not None
    assert sla.latency == timedelta(weeks=1)
    assert [f.message for f in findings] == ["duplicate latency: not applied"]
    _, findings = read("{property: retention, value: 1, unit: w}", "{property: retention, value: 8, unit: d}")
    assert [f.severity for f in findings] == ["error"]
