"""Validation of nested values as DuckDB SQL: a list of reasons, each with its path. Pure.

A reason's property is the way to the part: `address.zip`, `tags[2]` (the first item is 0). JSON is kept as it came,
so a part's JSON type must be the contract's; the items of a Postgres array are cast instead, and any scalar will do.
"""

from __future__ import annotations

from catalog.model.dataset import Property
from ingest.cleaning.rule_sql import compile_rule, describe_rule, list_reasons, write_reason
from runtime.duckdb_quoting import quote_text

REASONS_MAXIMUM = 1000  # of one property of one record; the rest is counted
NOTHING = "CAST([] AS JSON[])"
# The JSON types, as DuckDB names them, of what a part may be.
JSON_TYPES = {
    "integer": ("UBIGINT", "BIGINT", "HUGEINT", "UHUGEINT"),
    "number": ("UBIGINT", "BIGINT", "HUGEINT", "UHUGEINT", "DOUBLE"),
    "boolean": ("BOOLEAN",),
    "object": ("OBJECT",),
    "array": ("ARRAY",),
}


def has_parts(prop: Property) -> bool:
    """Whether the contract says anything about what the property holds."""
    needed = any(rule.name == "required" for rule in prop.rules)
    return bool(prop.children or prop.items or prop.entries or needed)


def compile_parts(prop: Property, text: str, value: str) -> str:
    """SQL for the reasons that the parts of a property's value leave; `text` is its JSON, wherever `value` is one."""
    found = bind(f"CAST({text} AS JSON)", "part0", compile_nested_rules(prop, "part0", quote_text(prop.name), 0))
    rest = write_reason(
        "TRUE",
        quote_text(prop.name),
        "more",
        "NULL",
        f"only its first {REASONS_MAXIMUM} reasons are listed",
    )
    first = f"list_append(found[1:{REASONS_MAXIMUM}], {rest})"
    capped = f"CASE WHEN len(found) > {REASONS_MAXIMUM} THEN {first} ELSE found END"
    return f"CASE WHEN {value} IS NOT NULL THEN {bind(found, 'found', capped)} END"


def bind(expression: str, name: str, body: str) -> str:
    """SQL for `body`, in which `name` is the value of the expression: computed once."""
    return f"list_transform([{expression}], lambda {name}: {body})[1]"


def compile_nested_rules(prop: Property, json: str, path: str, level: int) -> str:
    """SQL for the reasons that the parts of an object or an array leave."""
    lists = []
    if prop.logical_type == "object" and has_parts(prop):
        # Of two parts with one name, Postgres keeps the other one than DuckDB finds.
        doubled = f"len(json_keys({json})) > len(list_distinct(json_keys({json})))"
        singles = [write_reason(doubled, path, "type", "NULL", "has a duplicate name")]
        required = {child.name for child in prop.children if child.required}
        for rule in prop.rules:
            for name in [n for n in rule.argument if n not in required] if rule.name == "required" else ():
                lacks = f"NOT json_exists({json}, {quote_text(point_to(name))})"
                place = f"{path} || {quote_text('.' + name)}"
                singles.append(write_reason(lacks, place, "required", "NULL", "must be present, even if it is null"))
        lists.append(list_reasons(singles))
    for child in prop.children:
        found = f"json_extract({json}, {quote_text(point_to(child.name))})"
        lists.append(compile_part_rules(child, found, f"{path} || {quote_text('.' + child.name)}", level + 1))
    if prop.entries:
        key, entry = f"key{level}", f"json_extract({json}, '/' || replace(replace(key{level}, '~', '~0'), '/', '~1'))"
        place = f"{path} || '.' || {key}"
        both = (
            compile_part_rules(prop.entries[0], f"to_json({key})", place, level + 1),
            compile_part_rules(prop.entries[1], entry, place, level + 1),
        )
        each = f"list_transform(json_keys({json}), lambda {key}: list_concat({', '.join(both)}))"
        lists.append(f"flatten({each})")
    if prop.items:
        item, index = f"item{level}", f"index{level}"
        place = f"{path} || '[' || ({index} - 1) || ']'"
        checked = compile_part_rules(prop.items, item, place, level + 1, cast=prop.type.item is not None)
        lists.append(f"flatten(list_transform(json_extract({json}, '$[*]'), lambda {item}, {index}: {checked}))")
    return join_lists(lists)


def compile_part_rules(prop: Property, found: str, path: str, level: int, *, cast: bool = False) -> str:
    """SQL for the reasons that one part leaves, itself and what it holds; `cast`: any scalar is read as its text."""
    json, text, value = f"part{level}", f"text{level}", f"value{level}"
    missing = list_reasons([write_reason("TRUE", path, "required", "NULL", "a value is required")])
    unread = list_reasons([write_reason("TRUE", path, "type", text, f"expected {prop.type.expected}")])
    nested = prop.logical_type in {"object", "array"}
    rules = [
        write_reason(compile_rule(rule, prop, json if nested else value), path, rule.name, text, describe_rule(rule))
        for rule in prop.rules
        if rule.name != "required"
    ]
    good = join_lists([list_reasons(rules)] * bool(rules) + [compile_nested_rules(prop, json, path, level)] * nested)
    types = JSON_TYPES.get(prop.logical_type, ("VARCHAR",))
    fits = f"json_type({json}) IN ({', '.join(map(quote_text, types))})"
    if nested:
        body = f"CASE WHEN {fits} THEN {good} ELSE {unread} END"
    else:
        accepted = f"{value} IS NOT NULL" if cast else f"{fits} AND {value} IS NOT NULL"
        body = bind(prop.type.value_of(text), value, f"CASE WHEN {accepted} THEN {good} ELSE {unread} END")
    checked = bind(f"json_extract_string({json}, '$')", text, body)
    absent = f"{json} IS NULL OR json_type({json}) = 'NULL'"
    none = missing if prop.required else NOTHING
    return bind(found, json, f"CASE WHEN {absent} THEN {none} ELSE {checked} END")


def join_lists(lists: list[str]) -> str:
    """SQL for one list of reasons."""
    return f"list_concat({', '.join(lists)})" if lists[1:] else lists[0] if lists else NOTHING


def point_to(key: str) -> str:
    """The JSON pointer to a key of an object."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
