"""DuckDB SQL that says whether a text is JSON that Postgres stores as jsonb."""

from __future__ import annotations

JSON_DEPTH = 500  # levels; Postgres' stack takes some thousands
SHORT_CHARACTERS = 2 * JSON_DEPTH  # nothing shorter can be nested deeper
# Strings aside, these need a second look. Most values show at once that there is nothing to look for.
SUSPICIOUS = r"(?i)nan|inf|[0-9]e|[0-9]{300}|,\s*[]}]|\\u"
# DuckDB also reads NaN, trailing commas and numbers of any size; Postgres would refuse the whole COPY for one.
FOREIGN = r"(?i)nan|inf|[eE][+-]?0*[1-9][0-9]{3}|[0-9]{300}|,\s*[]}]"
OPENING = {"OBJECT": "{", "ARRAY": "["}


def nest_brackets(levels: int) -> str:
    """A regular expression for brackets that are nested at most so deep: one automaton, linear time."""
    pattern = ""
    for _ in range(levels):
        pattern = f"(?:[[{{]{pattern}[]}}])*"
    return pattern


def plain_json(kind: str) -> str:
    """DuckDB SQL: whether {text} is JSON of a kind, OBJECT or ARRAY, that Postgres stores."""
    # What is left without strings: structure and numbers.
    bare = r"""regexp_replace({text}, '"([^"\\]|\\.)*"', '""', 'g')"""
    # Pairs of surrogates are characters; one alone is none, and neither is NUL.
    escapes = r"regexp_replace(replace({text}, '\\', ''), '(?i)\\ud[89ab]..\\ud[c-f]..', '', 'g')"
    brackets = f"regexp_replace({bare}, '[^][{{}}]+', '', 'g')"
    return (
        "CASE WHEN NOT json_valid({text}) THEN FALSE"
        f" WHEN {{text}} LIKE '{OPENING[kind]}%' AND length({{text}}) < {SHORT_CHARACTERS}"
        f" AND NOT contains({{text}}, chr(0)) AND NOT regexp_matches({{text}}, '{SUSPICIOUS}') THEN TRUE"
        f" WHEN json_type({{text}}) <> '{kind}' OR contains({{text}}, chr(0)) THEN FALSE"
        f" WHEN regexp_matches({escapes}, '(?i)\\\\u(0000|d[89a-f])') THEN FALSE"
        f" WHEN regexp_matches({bare}, '{FOREIGN}') THEN FALSE"
        f" WHEN length({{text}}) < {SHORT_CHARACTERS} THEN TRUE"
        f" ELSE regexp_full_match({brackets}, '{nest_brackets(JSON_DEPTH)}') END"
    )
