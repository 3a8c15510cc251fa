"""The roles of a contract -> who may read and write its product, with a finding for each that cannot be granted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import sqlglot
from open_data_contract_standard.model import OpenDataContractStandard
from open_data_contract_standard.model import Role as OdcsRole
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from catalog.document.custom_properties import read_custom_properties
from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlNode, YamlPath
from catalog.model.dataset import Dataset
from catalog.model.roles import Role, RowPredicate
from catalog.sql.allowed import TYPES
from runtime.settings.rate import parse_rate

UNFIT = re.compile(r"[^A-Za-z0-9._-]+")  # for a scope, which is one word
PLACEHOLDER = re.compile(r'"_p(\d+)_"')
# What a predicate may be made of: comparisons of properties with constants. Nothing that reads elsewhere, or that
# gives another result tomorrow.
# fmt: off
ALLOWED = (
    exp.Paren, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In,
    exp.Is, exp.Null, exp.Boolean, exp.Literal, exp.Neg, exp.Column, exp.Identifier, exp.Like, exp.ILike, exp.Lower,
    exp.Upper, exp.Coalesce, exp.Length, exp.Cast, exp.DataType,
)
# fmt: on


class PredicateError(ValueError):
    """The text is no predicate that can be used here; the message says why."""


def build_roles(
    contract: OpenDataContractStandard, product: str, datasets: Mapping[str, Dataset], findings: Findings
) -> tuple[Role, ...]:
    """The roles that give access, and `<product>:read` and `:write`, which always exist."""
    roles: dict[str, Role] = {}
    for index, part in enumerate(contract.roles or []):
        role = build_role(part, product, datasets, ("roles", index), findings)
        if role is None:
            continue
        if role.scope in roles:
            findings.error(("roles", index), f"duplicate role {part.role!r}")
        roles[role.scope] = role
    for access in ("read", "write"):
        scope = f"{product}:{access}"
        roles.setdefault(scope, Role(scope, access))
    return tuple(roles.values())


def build_role(
    part: OdcsRole, product: str, datasets: Mapping[str, Dataset], trail: YamlPath, findings: Findings
) -> Role | None:
    """One role, None where it gives no access."""
    scope = name_scope(part.role or "", product)
    if scope is None:
        findings.error((*trail, "role"), "must contain a letter or a digit")
        return None
    access = (part.access or "read").strip().lower()
    if access not in {"read", "write"}:
        findings.warning((*trail, "access"), f"{part.access!r} is not supported; supported are read and write")
        return None
    if scope == f"{product}:{'write' if access == 'read' else 'read'}":
        findings.error((*trail, "access"), f"{part.role!r} cannot be the name of a role for {access}ing")
        return None
    custom_properties = read_custom_properties(part.customProperties, (*trail, "customProperties"), findings, "role")
    anonymous = custom_properties.get("anonymous", False)
    if not isinstance(anonymous, bool):
        findings.error((*trail, "customProperties"), f"anonymous: {anonymous!r} is not true or false")
        anonymous = False
    if anonymous and access == "write":
        findings.warning(trail, "anonymous: not applied, since writing needs a credential")
        anonymous = False
    limit = read_limit(custom_properties["rateLimit"], trail, findings) if "rateLimit" in custom_properties else None
    rows = None
    if "rows" in custom_properties:
        if access == "write":
            findings.error(trail, "rows: only applies to reading")
        rows = read_rows(custom_properties["rows"], datasets, trail, findings)
    return Role(scope, access, anonymous, rows, limit)


def name_scope(role: str, product: str) -> str | None:
    """The scope that grants a role."""
    if role in {f"{product}:read", f"{product}:write"}:
        return role
    word = UNFIT.sub("-", role).strip("-")
    return f"{product}:role:{word}" if word else None


def read_limit(value: YamlNode, trail: YamlPath, findings: Findings) -> str | None:
    """The role's rate limit."""
    try:
        parse_rate(str(value))
    except ValueError as error:
        findings.error((*trail, "customProperties"), f"rateLimit: {error}")
        return None
    return str(value)


def read_rows(
    value: YamlNode, datasets: Mapping[str, Dataset], trail: YamlPath, findings: Findings
) -> dict[str, RowPredicate | None]:
    """The records that a role is limited to.

    A text is a predicate on every dataset; a mapping says for each dataset which records, `true` for all. What it
    does not name is not seen; where something is wrong, nothing is seen.
    """
    index = (*trail, "customProperties")
    wanted = value if isinstance(value, dict) else dict.fromkeys(datasets, value)
    rows: dict[str, RowPredicate | None] = {}
    for name, text in wanted.items():
        dataset = datasets.get(str(name))
        if dataset is None:
            close = difflib.get_close_matches(str(name), list(datasets), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            findings.error(index, f"rows: unknown dataset {str(name)!r}{hint}")
        elif text is True:
            rows[dataset.name] = None
        elif not isinstance(text, str):
            findings.error(index, f"rows: {dataset.name}: a predicate such as \"carrier = 'UA'\", or true for all")
        else:
            try:
                rows[dataset.name] = parse_predicate(text, dataset)
            except PredicateError as error:
                findings.error(index, f"rows: {dataset.name}: {error}")
    return rows


def parse_predicate(text: str, dataset: Dataset) -> RowPredicate:
    """The predicate that a text is; PredicateError where it does more than compare properties with constants."""
    try:
        parsed = sqlglot.parse(f"SELECT 1 WHERE ({text}\n)", dialect="postgres")
    except (SqlglotError, RecursionError) as error:
        raise PredicateError(str(error).splitlines()[0]) from error
    tree = parsed[0] if len(parsed) == 1 else None
    where = tree.args.get("where") if isinstance(tree, exp.Select) else None
    filled = {name for name, part in tree.args.items() if part} if tree else set()
    if where is None or not isinstance(where.this, exp.Paren) or not filled <= {"expressions", "where", "kind"}:
        raise PredicateError("must be one condition")
    names: list[str] = []
    for node in list(where.this.walk()):
        if not isinstance(node, ALLOWED):
            raise PredicateError(f"{node.sql('postgres')}: only comparisons of properties with constants are allowed")
        if isinstance(node, exp.DataType) and (node.this not in TYPES or node.args.get("kind")):
            raise PredicateError(f"{node.sql('postgres')} is not a type that contracts may use")
        if isinstance(node, exp.In) and (node.args.get("query") or node.args.get("unnest")):
            raise PredicateError("IN needs a list of constants")
        if isinstance(node, exp.Column):
            names.append(find_property(node, dataset))
            node.set("this", exp.to_identifier(f"_p{len(names) - 1}_", quoted=True))
    pieces = PLACEHOLDER.split(where.this.this.sql("postgres"))
    if len(pieces) != 2 * len(names) + 1:
        raise PredicateError("contains a text that cannot be distinguished from a name")
    parts = [(names[int(piece)], True) if index % 2 else (piece, False) for index, piece in enumerate(pieces)]
    return RowPredicate(tuple(part for part in parts if part[0]))


def find_property(column: exp.Column, dataset: Dataset) -> str:
    """The property that a column of a predicate names."""
    identifier = column.this
    if column.args.get("table") or not isinstance(identifier, exp.Identifier):
        raise PredicateError(f"{column.sql('postgres')}: use the property's name without a prefix")
    for name in (identifier.name, identifier.name.lower()):
        if name in dataset.properties:
            return name
    close = difflib.get_close_matches(identifier.name, list(dataset.properties), n=1)
    raise PredicateError(f"unknown property {identifier.name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
