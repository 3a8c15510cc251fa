"""Two validators of the standard's JSON Schema: the quick one may refuse more, but never accepts more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.contract import load
from catalog.contract.load import conforms, load_catalog, standard_validator
from catalog.document.yaml_document import parse_document
from runtime.settings.settings import load_settings
from tests.support.examples import examples

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
tags: [a, b]
description: {purpose: Items of a shop}
slaProperties: [{property: latency, value: 2, unit: d, element: items.id}]
servers: [{server: here, type: local, path: data, format: csv}]
schema:
  - name: items
    customProperties: [{property: input, value: {server: here, path: items.csv}}]
    quality: [{type: library, metric: rowCount, mustBeGreaterThan: 3}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true, logicalTypeOptions: {minimum: 1}}
      - {name: code, logicalType: string, logicalTypeOptions: {pattern: "[A-Z]+"}}
      - {name: parent, logicalType: integer, relationships: [{type: foreignKey, to: items.id}]}
roles: [{role: "shop:read", access: read}]
"""
VALUES = st.one_of(
    st.sampled_from(["", "a", "a\n", "items.id", "s3", "local", "string", "array", "2020-01-01", "sql", "library"]),
    st.sampled_from([0, -1, 1.0, 2.5, 10**30, float("nan"), True, None]),
    st.sampled_from([[], {}, ["a", "a"], [1, True], {"a": 1}, {1: 2}, {"name": "a"}, {"type": "sql"}]),
)
NAMES = st.sampled_from(
    ["name", "type", "properties", "items", "logicalType", "logicalTypeOptions", "value", "server", "other", "id"]
)


def find_parts(data: object) -> list[Any]:
    """Every mapping and every list of a document."""
    if not isinstance(data, (dict, list)):
        return []
    members = data.values() if isinstance(data, dict) else data
    return [data, *(part for member in members for part in find_parts(member))]


def change(data: Any, source: st.DataObject) -> None:
    """Puts something into one part of a document."""
    part = source.draw(st.sampled_from(find_parts(data)))
    if isinstance(part, dict):
        part[source.draw(st.one_of(st.sampled_from(list(map(str, part)) or ["a"]), NAMES))] = source.draw(VALUES)
    elif part and source.draw(st.booleans()):
        part[source.draw(st.integers(0, len(part) - 1))] = source.draw(VALUES)
    else:
        part.append(source.draw(VALUES))


@given(st.data())
@settings(max_examples=examples(1000))
def test_the_quick_validator_accepts_nothing_that_the_other_refuses(source: st.DataObject) -> None:
    document, _ = parse_document(Path("shop.yaml"), CONTRACT)
    assert document is not None
    data = document.data
    assert conforms(data)
    for _ in range(source.draw(st.integers(1, 3))):
        change(data, source)
    assert not conforms(data) or standard_validator().is_valid(data)


def test_a_contract_that_conforms_is_not_validated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("the slow validator was asked")

    monkeypatch.setattr(load, "standard_validator", fail)
    load.find_violations.cache_clear()
    assert load_catalog(load_settings()).products
