"""What changed between two contracts, and the step that it demands."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from open_data_contract_standard.model import OpenDataContractStandard

from catalog.contract.product import build_product
from catalog.document.yaml_document import Document
from catalog.migration.compare_contracts import compare_contracts
from catalog.model.dataset import Product
from catalog.model.semantic_version import Step, Version, parse_version
from runtime.settings.settings import load_settings
from tests.support.examples import examples

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: 1.2.3
status: active
description: {purpose: Orders and their customers.}
schema:
  - name: customers
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: email, logicalType: string}
  - name: orders
    description: One record per order.
    quality:
      - {metric: rowCount, mustBeGreaterThan: 10}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - name: amount
        logicalType: number
        physicalType: numeric(10,2)
        required: true
        logicalTypeOptions: {minimum: 0, maximum: 1000}
      - name: customer
        logicalType: integer
        relationships: [{type: foreignKey, to: customers.id}]
      - {name: state, logicalType: string, enum: [{value: open}, {value: paid}], classification: internal}
      - {name: code, logicalType: string, logicalTypeOptions: {pattern: "^[A-Z]+$", minLength: 2, maxLength: 8}}
      - {name: pieces, logicalType: integer, physicalType: integer, logicalTypeOptions: {multipleOf: 6}, unique: true}
      - {name: tags, logicalType: array, logicalTypeOptions: {minItems: 1, maxItems: 5, uniqueItems: true}}
      - name: address
        logicalType: object
        properties:
          - {name: zip, logicalType: string}
          - {name: street, logicalType: string, required: true}
slaProperties:
  - {property: latency, value: 2, unit: d}
roles:
  - {role: "shop:read", access: read, customProperties: [{property: anonymous, value: true}]}
  - {role: clerk, access: read}
"""


def build(document: dict[str, Any]) -> Product:
    """The product of a contract's document, as it would be after lint."""
    text = Document(Path("c.yaml"), "", json.loads(json.dumps(document)), {})
    product, findings = build_product(OpenDataContractStandard(**document), text, "", load_settings())
    assert not [finding for finding in findings if finding.severity == "error"], findings
    return product


def contract() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CONTRACT)
    return document


def of(document: dict[str, Any], dataset: str, prop: str | None = None) -> dict[str, Any]:
    """A dataset's or a property's part of the document."""
    part = next(part for part in document["schema"] if part["name"] == dataset)
    if prop is None:
        return part  # type: ignore[no-any-return]
    return next(child for child in part["properties"] if child["name"] == prop)  # type: ignore[no-any-return]


def edit(change: str) -> dict[str, Any]:
    """The contract after one line of Python has been at it."""
    document = contract()
    exec(  # the edits of the table below, written as one would say them
        change,
        {"doc": document, "d": lambda name: of(document, name), "p": lambda name: of(document, "orders", name)},
    )
    return document


STEPS = [
    # datasets and properties
    ("doc['schema'].pop(1)", Step.MAJOR, "orders: dataset removed"),
    ("doc['schema'].append({**d('customers'), 'name': 'more'})", Step.MINOR, "more: dataset added"),
    ("d('orders')['properties'].pop(4)", Step.MAJOR, "orders.code: property removed"),
    ("d('orders')['properties'].append({'name': 'x'})", Step.MINOR, "orders.x: optional property added"),
    ("d('orders')['properties'].append({'name': 'x', 'required': True})", Step.MAJOR, "required property added"),
    (
        "p('code').update(customProperties=[{'property': 'trim', 'value': False}])",
        Step.PATCH,
        "orders.code: descriptive text changed: customProperties",
    ),
    (
        "d('orders').update(customProperties=[{'property': 'trim', 'value': True}])",
        Step.PATCH,
        "orders: descriptive text changed: customProperties",
    ),
    (
        "p('code').update(name='sku', physicalName='code')",
        Step.MAJOR,
        "orders.sku: renamed from code; its values are kept",
    ),
    (
        "d('orders').update(name='sales', physicalName='orders')",
        Step.MAJOR,
        "sales: renamed from orders; its records are kept",
    ),
    ("p('code').update(physicalName='sku')", Step.PATCH, "the data of the old column is not moved"),
    # types
    ("p('code').update(logicalType='integer', logicalTypeOptions={})", Step.MAJOR, "becomes bigint (was text)"),
    ("p('amount').update(physicalType='numeric(12,2)')", Step.MINOR, "becomes numeric(12,2)"),
    ("p('amount').update(physicalType='numeric(12,3)')", Step.MINOR, "becomes numeric(12,3)"),
    ("p('amount').update(physicalType='numeric(10,3)')", Step.MAJOR, "becomes numeric(10,3)"),
    ("p('amount').pop('physicalType')", Step.MAJOR, "becomes double precision"),
    ("p('pieces').update(physicalType='smallint')", Step.MAJOR, "becomes smallint"),
    ("p('pieces').pop('physicalType')", Step.MINOR, "becomes bigint (was integer)"),
    ("p('pieces').update(physicalType='bigint')", Step.MAJOR, "becomes bigint"),  # a string in JSON
    # bounds
    ("p('amount')['logicalTypeOptions'].update(minimum=1)", Step.MAJOR, "minimum is 1 instead of 0"),
    ("p('amount')['logicalTypeOptions'].update(minimum=-1)", Step.MINOR, "minimum is -1 instead of 0"),
    ("p('amount')['logicalTypeOptions'].pop('minimum')", Step.MINOR, "minimum is open instead of 0"),
    ("p('amount')['logicalTypeOptions'].update(maximum=10)", Step.MAJOR, "maximum is 10 instead of 1000"),
    ("p('amount')['logicalTypeOptions'].update(maximum=2000)", Step.MINOR, "maximum is 2000 instead of 1000"),
    ("p('amount')['logicalTypeOptions'].update(exclusiveMinimum=0)", Step.MAJOR, "minimum is 0 (exclusive)"),
    ("p('amount')['logicalTypeOptions'].update(exclusiveMaximum=1001)", Step.PATCH, "descriptive text changed"),
    ("p('pieces')['logicalTypeOptions'].update(minimum=0)", Step.MAJOR, "minimum is 0 instead of open"),
    # lengths, pattern, enum, multipleOf, items
    ("p('code')['logicalTypeOptions'].update(pattern='^[A-Z]*$')", Step.MAJOR, "pattern is"),
    ("p('code')['logicalTypeOptions'].pop('pattern')", Step.MINOR, "pattern ^[A-Z]+$ is no longer asked for"),
    ("p('customer').update(logicalTypeOptions={'minimum': 1})", Step.MAJOR, "minimum is 1"),
    ("d('customers')['properties'][1].update(logicalTypeOptions={'pattern': '@'})", Step.MAJOR, "pattern @ is asked"),
    ("p('code')['logicalTypeOptions'].update(minLength=3)", Step.MAJOR, "minLength is 3 instead of 2"),
    ("p('code')['logicalTypeOptions'].update(minLength=1)", Step.MINOR, "minLength is 1 instead of 2"),
    ("p('code')['logicalTypeOptions'].update(maxLength=9)", Step.MINOR, "maxLength is 9 instead of 8"),
    ("p('code')['logicalTypeOptions'].update(maxLength=7)", Step.MAJOR, "maxLength is 7 instead of 8"),
    ("p('state')['enum'].append({'value': 'lost'})", Step.MINOR, "also allows lost"),
    ("p('state')['enum'].pop()", Step.MAJOR, "no longer allows paid"),
    ("p('state').pop('enum')", Step.MINOR, "enum open, paid is no longer asked for"),
    ("p('code').update(enum=[{'value': 'AB'}])", Step.MAJOR, "enum AB is asked for"),
    ("p('pieces')['logicalTypeOptions'].update(multipleOf=3)", Step.MINOR, "multipleOf is 3 instead of 6"),
    ("p('pieces')['logicalTypeOptions'].update(multipleOf=12)", Step.MAJOR, "multipleOf is 12 instead of 6"),
    ("p('tags')['logicalTypeOptions'].update(minItems=0)", Step.MINOR, "minItems is 0 instead of 1"),
    ("p('tags')['logicalTypeOptions'].update(maxItems=4)", Step.MAJOR, "maxItems is 4 instead of 5"),
    ("p('tags')['logicalTypeOptions'].update(uniqueItems=False)", Step.MINOR, "uniqueItems"),
    # flags
    ("p('code').update(required=True)", Step.MAJOR, "orders.code: is required now"),
    ("p('amount').update(required=False)", Step.MINOR, "is no longer required"),
    ("p('code').update(unique=True)", Step.MAJOR, "is unique now"),
    ("p('pieces').update(unique=False)", Step.MINOR, "is no longer unique"),
    ("p('id').update(required=True)", Step.PATCH, "descriptive text changed: required"),  # a key is required anyway
    ("p('code').update(deprecated=True)", Step.MINOR, "is deprecated now"),
    ("p('code').update(classification='confidential')", Step.MAJOR, "is classified confidential instead of internal"),
    ("p('state').update(classification='public')", Step.MINOR, "is classified public instead of internal"),
    ("p('code').update(transformLogic='upper(code)')", Step.PATCH, "transformLogic"),
    # keys and foreign keys
    ("p('amount').update(primaryKey=True)", Step.MAJOR, "orders: the key is id, amount instead of id"),
    ("p('customer').pop('relationships')", Step.MINOR, "foreign key customer → customers.id removed"),
    (
        "p('pieces').update(relationships=[{'type': 'foreignKey', 'to': 'customers.id'}])",
        Step.MAJOR,
        "foreign key pieces → customers.id added, enforced",
    ),
    (
        "p('pieces').update(relationships=[{'type': 'foreignKey', 'to': 'customers.id',"
        " 'customProperties': [{'property': 'enforced', 'value': False}]}])",
        Step.MINOR,
        "added, not enforced",
    ),
    (
        "p('customer')['relationships'][0].update(customProperties=[{'property': 'enforced', 'value': False}])",
        Step.MINOR,
        "foreign key customer → customers.id is no longer enforced",
    ),
    # nested parts
    ("p('address')['properties'].pop(0)", Step.MAJOR, "orders.address: zip removed"),
    ("p('address')['properties'].append({'name': 'city'})", Step.MINOR, "orders.address: city added"),
    ("p('address')['properties'].append({'name': 'city', 'required': True})", Step.MAJOR, "city added"),
    ("p('address')['properties'][0].update(logicalType='integer')", Step.MAJOR, "zip becomes bigint (was text)"),
    ("p('address')['properties'][1].update(required=False)", Step.MINOR, "street is no longer required"),
    (
        "p('address')['properties'][0].update(description='Five.')",
        Step.PATCH,
        "orders.address: descriptive text changed: properties",
    ),
    ("p('tags').update(items={'logicalType': 'string'})", Step.MAJOR, "orders.tags: [] is described now"),
    (
        "p('address')['properties'][0].update(logicalTypeOptions={'pattern': '^[0-9]+$'})",
        Step.MAJOR,
        "orders.address: zip pattern ^[0-9]+$ is asked for",
    ),
    # gates
    ("d('orders')['quality'][0].update(mustBeGreaterThan=100)", Step.MINOR, "orders: quality rule"),
    ("d('orders').pop('quality')", Step.MINOR, "removed"),
    (
        "d('orders').update(customProperties=[{'property': 'maxRejected', 'value': 1}])",
        Step.MINOR,
        "maxRejected is 0.01 instead of 0.1",
    ),
    (
        "d('orders').update(customProperties=[{'property': 'partitions', 'value': 8}])",
        Step.PATCH,
        "orders: partitions is 8 instead of none",
    ),
    (
        "d('orders').update(customProperties=[{'property': 'unknownColumns', 'value': 'reject'}])",
        Step.MINOR,
        "unknown columns are refused now",
    ),
    # the whole contract
    ("doc['roles'].pop(0)", Step.MAJOR, "reading without a key is closed now"),
    ("doc['roles'].pop(1)", Step.MAJOR, "role clerk removed"),
    ("doc['roles'].append({'role': 'boss', 'access': 'read'})", Step.MINOR, "role boss added"),
    ("doc['roles'][1].update(access='write')", Step.MAJOR, "role clerk grants other access"),
    ("doc['slaProperties'][0].update(value=3)", Step.MINOR, "slaProperties changed"),
    ("doc.update(status='deprecated')", Step.MINOR, "status is deprecated instead of active"),
    ("doc.update(status='retired')", Step.MINOR, "status is retired instead of active"),
    ("doc.update(status='draft')", Step.MAJOR, "status is draft instead of active"),
    # words
    ("doc['description'].update(purpose='Orders.')", Step.PATCH, "contract: descriptive text changed: description"),
    ("d('orders').update(description='Orders.')", Step.PATCH, "orders: descriptive text changed: description"),
    ("p('code').update(examples=['AB'])", Step.PATCH, "orders.code: descriptive text changed: examples"),
    (
        "p('customer')['relationships'][0].update(customProperties=[{'property': 'note', 'value': 1}])",
        Step.PATCH,
        "contract: descriptive text changed",
    ),
]


@pytest.mark.sampled
@pytest.mark.parametrize(("change", "step", "sentence"), STEPS)
def test_each_change_demands_its_step_and_says_what_it_is(change: str, step: Step, sentence: str) -> None:
    comparison = compare_contracts(build(contract()), build(edit(change)))
    assert comparison.step is step, [str(c) for c in comparison.changes]
    assert any(sentence in str(c) for c in comparison.changes), [str(c) for c in comparison.changes]
    assert comparison.problem is not None
    assert str(comparison.lowest_version) in comparison.problem


@pytest.mark.sampled
@pytest.mark.parametrize(("change", "step", "sentence"), STEPS)
def test_what_is_undone_is_a_change_too(change: str, step: Step, sentence: str) -> None:
    assert compare_contracts(build(edit(change)), build(contract())).changes


def test_a_rename_with_the_same_column_takes_key_and_foreign_keys_along() -> None:
    new = edit("p('id').update(name='number', physicalName='id')")
    assert [str(c) for c in compare_contracts(build(contract()), build(new)).changes] == [
        "orders.number: renamed from id; its values are kept"
    ]


def test_a_bound_written_another_way_is_no_tighter() -> None:
    old, new = (
        edit(f"p('pieces')['logicalTypeOptions'].update({bound})") for bound in ("exclusiveMinimum=0", "minimum=1")
    )
    (change,) = compare_contracts(build(old), build(new)).changes
    assert change.step is Step.PATCH


@pytest.mark.slow
@settings(deadline=None, database=None, max_examples=examples(60))
@given(st.lists(st.sampled_from([change for change, _, _ in STEPS]), max_size=4))
def test_a_contract_does_not_differ_from_itself_and_all_steps_together_are_the_highest(edits: list[str]) -> None:
    document = contract()
    for change in edits:
        try:
            exec(
                change,
                {
                    "doc": document,
                    "d": lambda name: of(document, name),
                    "p": lambda name: of(document, "orders", name),
                },
            )
        except (StopIteration, KeyError, IndexError):
            continue  # what the edit is about is gone
    try:
        new = build(document)
    except AssertionError:
        return  # two edits that make no contract together
    assert compare_contracts(new, new).changes == ()
    comparison = compare_contracts(build(contract()), new)
    steps = [change.step for change in comparison.changes]
    assert comparison.step == (max(steps) if steps else None)
    version = Version(1, 2, 3)
    if comparison.step is not None:
        moved = copy.deepcopy(document) | {"version": str(version.after(comparison.step))}
        assert compare_contracts(build(contract()), build(moved)).problem is None


RULES = st.fixed_dictionaries(
    {},
    optional={
        "minimum": st.integers(-3, 3),
        "maximum": st.integers(-3, 3),
        "exclusiveMinimum": st.integers(-3, 3),
        "exclusiveMaximum": st.integers(-3, 3),
        "multipleOf": st.integers(1, 4),
    },
)


def keeps(rules: dict[str, int], value: int) -> bool:
    return (
        value >= rules.get("minimum", value)
        and value <= rules.get("maximum", value)
        and value > rules.get("exclusiveMinimum", value - 1)
        and value < rules.get("exclusiveMaximum", value + 1)
        and value % rules.get("multipleOf", 1) == 0
    )


@pytest.mark.slow
@settings(deadline=None, database=None, max_examples=examples(300))
@given(RULES, RULES)
def test_less_than_a_major_step_never_lets_a_value_become_bad(before: dict[str, int], after: dict[str, int]) -> None:
    old, new = (edit(f"p('customer').update(logicalTypeOptions={rules})") for rules in (before, after))
    comparison = compare_contracts(build(old), build(new))
    if comparison.step is not Step.MAJOR:
        assert all(keeps(after, value) for value in range(-40, 40) if keeps(before, value))
    if comparison.step is None:
        assert before == after


def bump(version: str, change: str = "d('orders').update(description='Orders.')") -> str | None:
    old, new = contract(), edit(change)
    new["version"] = version
    return compare_contracts(build(old), build(new)).problem


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("1.2.3", "the version stayed at 1.2.3, but the changes are a patch step: set version 1.2.4 or later"),
        ("1.2.4", None),
        ("1.3.0", None),
        ("1.2.2", "the version went back from 1.2.3 to 1.2.2"),
        ("1.2.3-rc.1", "the version went back from 1.2.3 to 1.2.3-rc.1"),
        ("1.2.4-rc.1", None),
    ],
)
def test_the_version_must_move_as_far_as_the_changes_demand(version: str, problem: str | None) -> None:
    assert bump(version) == problem


def test_a_breaking_change_asks_for_a_second_file() -> None:
    problem = bump("1.9.0", "d('orders')['properties'].pop(4)")
    assert problem is not None
    assert "write version 2.0.0 as a second contract file beside this one" in problem


def test_a_contract_whose_version_moved_too_far_or_alone_is_fine() -> None:
    new = contract() | {"version": "1.4.0"}
    comparison = compare_contracts(build(contract()), build(new))
    assert (comparison.changes, comparison.problem) == ((), None)


@pytest.mark.parametrize(
    ("old", "step", "lowest"),
    [
        ("1.2.3", Step.PATCH, "1.2.4"),
        ("1.2.3", Step.MINOR, "1.3.0"),
        ("1.2.3", Step.MAJOR, "2.0.0"),
        ("0.2.3", Step.MAJOR, "0.3.0"),
        ("0.2.3", Step.MINOR, "0.2.4"),
        ("0.2.3", Step.PATCH, "0.2.4"),
        ("v1", Step.MINOR, "1.1.0"),
    ],
)
def test_before_the_first_major_version_a_breaking_change_is_a_minor_step(old: str, step: Step, lowest: str) -> None:
    version = parse_version(old)
    assert str(version.after(step)) == lowest
    assert version.allows(step, parse_version(lowest))
    assert not version.allows(step, version)


@pytest.mark.parametrize(
    "ordered",
    [["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "v2"]],
)
def test_versions_stand_in_the_order_of_semantic_versioning(ordered: list[str]) -> None:
    assert sorted(set(ordered), key=parse_version) == ordered


@settings(deadline=None, database=None)
@given(st.text(max_size=20))
def test_any_text_has_a_version(text: str) -> None:
    assert parse_version(text).numbers >= (0, 0, 0)


def test_a_contract_on_its_way_to_a_version_may_change_freely() -> None:
    assert parse_version("2.0.0-rc.1").allows(Step.MAJOR, parse_version("2.0.0-rc.2"))
    assert parse_version("2.0.0-rc.1").allows(Step.MAJOR, parse_version("2.0.0"))
