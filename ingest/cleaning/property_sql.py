"""DuckDB SQL for one property: its text, its value, and the rules that it may break. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.model.dataset import Property
from ingest.cleaning.rule_sql import Check, compile_rule, describe_rule


def compile_source(index: int, prop: Property, place: str | None) -> str:
    """`t` is the property's text; with a transform `x` comes first, null where the expression failed."""
    if prop.transform is None:
        return f"{place or 'NULL'} AS t{index}"
    # TRY gives null on an error; the list around it keeps a null result apart from that.
    return f"TRY([({prop.transform})]) AS x{index}"


def write_result(prop: Property, result: str) -> str:
    """A transform's result as text; a list or a struct of DuckDB's own becomes JSON."""
    text = f"CAST({result} AS VARCHAR)"
    if prop.logical_type not in {"object", "array"}:
        return text
    return (
        f"CASE WHEN typeof({result}) IN ('VARCHAR', 'JSON') THEN {text} ELSE CAST(to_json({result}) AS VARCHAR) END"
    )


def compile_value(index: int, prop: Property, native: frozenset[str], *, is_json: bool) -> tuple[str, str]:
    """`c` is what DuckDB casts the text to, and `v` the property's value: null where the text is null or is none.

    They are columns of two steps, since DuckDB computes again what a CASE repeats.
    """
    kind = prop.type
    text, result = f"t{index}", f"x{index}[1]"
    if prop.name in native:
        guard = kind.guard.replace("{value}", f"c{index}")
        return f"CAST({result} AS {kind.duckdb}) AS c{index}", f"CASE WHEN {guard} THEN c{index} END AS v{index}"
    if kind.name == "string" and prop.transform is None and not is_json:
        return f"NULL AS c{index}", f"{text} AS v{index}"  # the reader lets no NUL through; JSON may escape one
    return f"{kind.cast_text(text)} AS c{index}", f"{kind.convert(text, f'c{index}')} AS v{index}"


def compile_checks(properties: list[Property], native: frozenset[str], worded: frozenset[int]) -> Iterator[Check]:
    """Every record-level rule of every property; `worded` are those whose null words are known."""
    for index, prop in enumerate(properties):
        # Where no text is needed, none is made: in a reason it is, for a broken record alone.
        text, value = f"CAST(x{index}[1] AS VARCHAR)" if prop.name in native else f"t{index}", f"v{index}"
        missing = f"x{index}[1] IS NULL" if prop.name in native else f"{text} IS NULL"
        if prop.transform:
            message = f"the expression failed: {prop.transform[:200]}"
            yield Check(prop.name, "transform", f"x{index} IS NULL", "NULL", message)
            if prop.required:
                missed = f"x{index} IS NOT NULL AND {missing}"
                yield Check(prop.name, "required", missed, "NULL", "a value is required")
        elif prop.required:
            word = f"nullif(w{index}, '')" if index in worded else "NULL"
            yield Check(prop.name, "required", missing, word, "a value is required")
        rule = "invalid_text" if prop.type.family == "text" else "type"
        unread = f"NOT ({missing}) AND {value} IS NULL"
        yield Check(prop.name, rule, unread, text, f"expected {prop.type.expected}")
        if prop.type.item:
            # A Postgres array is written in another way than its rules read it.
            value = f"CASE WHEN {value} IS NOT NULL THEN {text} END"
        for extra in prop.rules:
            if extra.name != "required":  # of an object: its parts are looked at one by one
                yield Check(prop.name, extra.name, compile_rule(extra, prop, value), text, describe_rule(extra))
