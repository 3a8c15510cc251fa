"""Names that a contract cannot use: those that Postgres or Decant keep, or that no address can carry. Pure."""

from __future__ import annotations

import re
import unicodedata

from catalog.model.roles import OPERATOR_SCOPES

# What is before the colon of an operator's scope: a product of that name would grant it with its own `:read`.
OWN_PRODUCTS = frozenset(scope.partition(":")[0] for scope in OPERATOR_SCOPES)
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
VERSION_TABLE = "alembic_version"
LOCK_TABLE = "migration_lock"  # one migration at a time
OWN_TABLES = frozenset({VERSION_TABLE, LOCK_TABLE})  # which migrations pass over in every schema
# Parameters that are taken for a credential, which no address may hold.
CREDENTIAL_PARAMETERS = ("access_token", "api_key", "apikey", "x-api-key", "token")
FIRST_SIGNS = {"-": "sorts downwards", **dict.fromkeys("=+@", "begins a formula in spreadsheets")}
BRACKETS = "[]"
BUCKET = re.compile(r"[a-z]+\(.+\)")
CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})  # of Unicode: controls, surrogates, ends of lines and paragraphs


def refuse_product(product: str, schema: str) -> str | None:
    """Why a product cannot have this id; None where it can."""
    if product.lower() in OWN_PRODUCTS:
        return f"{product!r} is reserved: {product}:read would be an operator's scope. Choose another id"
    if schema.startswith("pg_"):
        return f"its schema would be {schema!r}, and PostgreSQL reserves names that begin with pg_. Choose another id"
    return None


def refuse_table(table: str) -> str | None:
    """Why a dataset cannot have this table; None where it can."""
    if table.startswith("_"):
        return "names that start with '_' are Decant's own"
    return f"{table!r} is reserved for migrations. Choose another name" if table in OWN_TABLES else None


def refuse_property(name: str, column: str) -> str | None:
    """Why a property cannot have this name, or this column; None where it can."""
    if not name or name.startswith("_") or column.startswith("_") or "\0" in name + column:
        return f"{name!r}: must be a name; names that start with '_' are Decant's own"
    if column in SYSTEM_COLUMNS:
        return f"{column!r} is a system column of PostgreSQL: set another physicalName"
    reason = None
    if any(unicodedata.category(sign) in CONTROLS for sign in name):
        reason = "contains a control character"
    elif name != name.strip():
        reason = "begins or ends with a space"
    elif name[0] in FIRST_SIGNS:
        reason = f"begins with {name[0]!r}, which {FIRST_SIGNS[name[0]]}"
    elif any(sign in name for sign in BRACKETS):
        reason = "contains a bracket, which encloses the operator of a filter"
    elif BUCKET.fullmatch(name):
        reason = "looks like a time bucket such as month(day)"
    elif name.lower() in CREDENTIAL_PARAMETERS:
        reason = "would be mistaken for a credential in a URL"
    if reason is None:
        return None
    return (
        f"{name!r} {reason}: rename it; set physicalName to keep the column's name, and"
        f" transformLogic to read the raw column"
    )
