"""The roles of a contract: what they are called, and the records that they are limited to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.contract.load import lint_contracts
from catalog.contract.roles import PredicateError, parse_predicate
from catalog.model.dataset import Product
from catalog.model.roles import Role, RowPredicate, join_rows
from runtime.settings.settings import load_settings

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: 1.0.0
status: active
schema:
  - name: items
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: kind, logicalType: string}
      - {name: soldOn, logicalType: date}
  - name: kinds
    properties:
      - {name: kind, logicalType: string, primaryKey: true}
roles:
"""


@pytest.fixture
def lint(tmp_path: Path) -> Callable[[str], tuple[Product, list[str]]]:
    """The product of the contract with these roles, and what is wrong with them."""

    def build(roles: str) -> tuple[Product, list[str]]:
        (tmp_path / "shop.odcs.yaml").write_text(CONTRACT + roles)
        catalog, findings = lint_contracts(load_settings(contracts=tmp_path))
        product = catalog.products.get(("shop", 1))
        return product, [finding.message for finding in findings]  # type: ignore[return-value]

    return build


def render(predicate: RowPredicate | None) -> str:
    """A predicate with its properties as columns of t."""
    assert predicate is not None
    return predicate.render(lambda name: f't."{name}"')


def test_read_and_write_always_exist_and_others_get_a_scope_of_the_product(
    lint: Callable[[str], tuple[Product, list[str]]],
) -> None:
    product, said = lint("  - {role: data analyst, access: read}\n  - {role: feeder, access: write}\n")
    assert not said
    assert {(role.scope, role.access) for role in product.roles} == {
        ("shop:role:data-analyst", "read"),
        ("shop:role:feeder", "write"),
        ("shop:read", "read"),
        ("shop:write", "write"),
    }


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("kind = 'a'", "(t.\"kind\" = 'a')"),
        ("soldOn >= DATE '2024-01-01'", "(t.\"soldOn\" >= CAST('2024-01-01' AS DATE))"),
        ("kind IN ('a', 'b') OR id IS NULL", "(t.\"kind\" IN ('a', 'b') OR t.\"id\" IS NULL)"),
        ("NOT (id BETWEEN 1 AND 5)", '(NOT (t."id" BETWEEN 1 AND 5))'),
        ("kind LIKE '50%' AND lower(kind) <> 'x'", "(t.\"kind\" LIKE '50%' AND LOWER(t.\"kind\") <> 'x')"),
        ("kind = '\"_p0_ -- ; it''s'", None),
    ],
)
def test_a_predicate_compares_properties_with_constants(
    lint: Callable[[str], tuple[Product, list[str]]], text: str, sql: str | None
) -> None:
    product, _ = lint("  []\n")
    predicate = parse_predicate(text, product.datasets["items"])
    if sql is not None:
        assert render(predicate) == sql
    assert predicate.properties <= {"id", "kind", "soldOn"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 = 1) UNION SELECT (1",
        "id = 1; DROP TABLE items",
        "id IN (SELECT id FROM items)",
        "EXISTS (SELECT 1)",
        "pg_sleep(10) IS NULL",
        "id = random()",
        "soldOn > now()",
        "soldOn > current_date",
        "current_user = 'decant_read'",
        "kinds.kind = 'a'",
        "shop.items.id = 1",
        "colour = 'red'",
        "id = $1",
        "id = :p",
        "id = 1) LIMIT (1",
        "id = 1 ORDER BY 1",
        "(id, kind) = (1, 'a')",
        "id = ANY(ARRAY[1, 2])",
        "kind ~ '(a+)+$'",
        "kind = 'kinds'::regclass::text",
        "kind = cast('kinds' as regclass)::text",
        "'<a/>'::xml is null",
        "kind = 'x'::shop_v1.items",
        "kind = U&'\\0061'",
        "kind = E'\\x41'",
        "id = 1_000",
        "*",
    ],
)
def test_what_does_more_is_refused(lint: Callable[[str], tuple[Product, list[str]]], text: str) -> None:
    product, _ = lint("  []\n")
    with pytest.raises(PredicateError):
        parse_predicate(text, product.datasets["items"])


def test_a_mapping_says_which_datasets_are_seen(lint: Callable[[str], tuple[Product, list[str]]]) -> None:
    product, said = lint(
        "  - role: partner\n    access: read\n    customProperties:\n"
        "      - {property: rows, value: {items: \"kind = 'a'\"}}\n"
        "      - {property: rateLimit, value: 60/minute}\n"
    )
    assert not said
    role = product.roles[0]
    assert role.rows is not None
    assert list(role.rows) == ["items"]
    assert role.rate_limit == "60/minute"


def test_a_text_is_a_predicate_on_every_dataset_and_must_fit_them_all(
    lint: Callable[[str], tuple[Product, list[str]]],
) -> None:
    product, said = lint("  - {role: r, access: read, customProperties: [{property: rows, value: \"kind = 'a'\"}]}\n")
    assert not said
    assert set(product.roles[0].rows or ()) == {"items", "kinds"}
    _, said = lint('  - {role: r, access: read, customProperties: [{property: rows, value: "soldOn IS NULL"}]}\n')
    assert said == ["rows: kinds: unknown property 'soldOn'"]


def test_what_is_wrong_with_roles_is_said(lint: Callable[[str], tuple[Product, list[str]]]) -> None:
    for roles, message in (
        ("  - {role: '!', access: read}\n", "must contain a letter or a digit"),
        ("  - {role: r, access: read}\n  - {role: r, access: read}\n", "duplicate role 'r'"),
        ("  - {role: 'shop:write', access: read}\n", "'shop:write' cannot be the name of a role for reading"),
        (
            "  - {role: r, access: write, customProperties: [{property: rows, value: 'id = 1'}]}\n",
            "rows: only applies to reading",
        ),
        (
            "  - {role: r, access: read, customProperties: [{property: rateLimit, value: often}]}\n",
            "rateLimit: 'often'",
        ),
        (
            "  - {role: r, access: read, customProperties: [{property: rows, value: {item: true}}]}\n",
            "did you mean 'items'",
        ),
        ("  - {role: r, access: read, customProperties: [{property: rows, value: {items: 5}}]}\n", "or true for all"),
    ):
        _, said = lint(roles)
        assert any(message in line for line in said), (roles, said)


def test_roles_together_see_what_any_of_them_sees() -> None:
    first, second = RowPredicate((("a", True), (" = 1", False))), RowPredicate((("b", True), (" = 2", False)))
    partner, other = (
        Role("x", "read", rows={"items": first}),
        Role("y", "read", rows={"items": second, "kinds": None}),
    )
    joined = dict(join_rows([partner, other]) or ())
    assert render(joined["items"]) == '((t."a" = 1) OR (t."b" = 2))'
    assert joined["kinds"] is None
    assert join_rows([partner, Role("z", "read")]) is None
    assert join_rows([]) == ()
