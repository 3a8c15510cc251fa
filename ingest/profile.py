"""What the columns of a sample hold: types by the rules that records are judged by, null tokens, keys, examples."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from ingest.candidates import TEXT, Candidate, choose, list_candidates, offer, show_example
from ingest.clean import LINE, PLACE, RECORD, point_to, quote_name, quote_text, trim
from ingest.readers.sink import JSON_COLUMN, CutBatch

# Words that stand for no value where all the rest of a column is something else than text.
NULL_WORDS = (
    *("NA", "N/A", "n/a", "na", "#N/A", "NULL", "Null", "null", "\\N", "None", "none"),
    *("NaN", "nan", "-", "--", "?", "."),
)
PLAIN_NULLS = frozenset({"\\N", "#N/A", "NULL"})  # mean nothing else anywhere
NESTING_LIMIT = 3  # deeper objects stay objects
WIDTH_LIMIT = 60  # an object with more keys than this is rather a map
GLANCE_RECORDS = 1000
KEY_COLUMNS_MAXIMUM = 3
KEY_CANDIDATES_MAXIMUM = 12
KEY_SAMPLE_RECORDS = 50_000
EXAMPLES = 3
EXAMPLE_CHARACTERS = 60


@dataclass(frozen=True)
class Source:
    """Where a property's text comes from: a column, or a path into a JSON object."""

    path: tuple[str, ...]
    text: str  # SQL over the table `sample`
    nested: bool = False
    array: bool = False
    object: bool = False


@dataclass(frozen=True)
class Profile:
    """What one source holds."""

    source: Source
    candidate: Candidate
    records: int
    filled: int
    distinct: int
    tokens: tuple[str, ...]  # words for no value that occur in it
    untrimmed: bool
    blank: bool  # whether any is an empty text
    matching: tuple[Candidate, ...]  # every type that all values fit
    examples: tuple[Any, ...] = ()
    note: str | None = None

    @property
    def required(self) -> bool:
        """Whether every record has a value."""
        return self.filled == self.records > 0

    @property
    def unique(self) -> bool:
        """Whether no value comes twice."""
        return self.required and self.distinct == self.records


class Profiler:
    """Looks at one cut batch, which lies in the table `sample` of a DuckDB connection."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, cut: CutBatch, delimiter: str) -> None:
        self.engine = engine
        self.cut = cut
        names = [RECORD] if cut.is_json else [f"{PLACE}{index}" for index in range(len(cut.header))]
        declared = "".join(f", '{name}': 'VARCHAR'" for name in names)
        engine.execute(
            f"CREATE TABLE sample AS SELECT * FROM read_csv({quote_text(str(cut.records))},"
            f" columns = {{'{LINE}': 'BIGINT'{declared}}}, auto_detect = false, header = false,"
            f" delim = {quote_text(delimiter)}, quote = '\"', escape = '\"', nullstr = '\\0', strict_mode = true,"
            " new_line = '\\n', max_line_size = 4000000)"
        )

    def sources(self) -> list[Source]:
        """Every column; of JSON objects every leaf, down to a limit."""
        if not self.cut.is_json:
            header = self.cut.header
            return [
                Source((name,), trim(f"{PLACE}{index}"))
                for index, name in enumerate(header)
                if name and header.count(name) == 1 and not name.lower().startswith("_decant")
            ]
        row = self.engine.execute(f"SELECT json_group_structure(CAST({RECORD} AS JSON)) FROM sample").fetchone()
        structure = json.loads(row[0]) if row and row[0] else {}
        return list(walk(structure, ())) if isinstance(structure, dict) else []

    def profile(self) -> tuple[list[Profile], tuple[str, ...]]:
        """What each source holds, and the words for no value that the input should know."""
        sources = self.sources()
        first = [self.look_at(source, NULL_WORDS) for source in sources]
        found = {
            token
            for profile in first
            for token in profile.tokens
            if profile.candidate is not TEXT or token in PLAIN_NULLS
        }
        tokens = tuple(word for word in NULL_WORDS if word in found)
        # What is a word for no value in one column is one in every column.
        return [self.settle(profile, tokens) for profile in first], tokens

    def settle(self, profile: Profile, tokens: tuple[str, ...]) -> Profile:
        """The profile with these words for no value and no others, and with examples."""
        doubtful = [word for word in profile.tokens if word not in tokens]
        if doubtful:
            profile = self.look_at(profile.source, tokens)
            note = f"holds {', '.join(doubtful)}: name it in nullValues where it stands for no value"
            profile = replace(profile, note=profile.note or note)
        return self.add_examples(profile, tokens)

    def look_at(self, source: Source, tokens: tuple[str, ...]) -> Profile:
        """The first type that all values of a source fit, aside from words for no value."""
        if source.array or source.object:
            return self.measure(source, tokens, offer("array" if source.array else "object"))
        # Most types are out after a glance at the first records.
        likely = self.measure(source, tokens, list_candidates(), f" LIMIT {GLANCE_RECORDS}")
        return self.measure(source, tokens, list(likely.matching))

    def measure(
        self, source: Source, tokens: tuple[str, ...], candidates: list[Candidate], limit: str = ""
    ) -> Profile:
        """What the source holds, and which of the candidates all its values fit."""
        words = ", ".join(map(quote_text, ("", *tokens)))
        fits = "".join(f", count(*) FILTER (real AND ({c.value('t')}) IS NOT NULL)" for c in candidates)
        row = self.engine.execute(
            "SELECT count(*), count(*) FILTER (real), count(DISTINCT t) FILTER (real),"
            f" list(DISTINCT t) FILTER (NOT real AND t <> ''), coalesce(bool_or(t <> trim(t, ' \t')), false),"
            f" coalesce(bool_or(trim(t, ' \t') = ''), false) {fits}"
            f" FROM (SELECT *, t IS NOT NULL AND trim(t, ' \t') NOT IN ({words}) AS real"
            f" FROM (SELECT {source.text} AS t FROM sample{limit}))"
        ).fetchone()
        assert row is not None  # noqa: S101 - a statement without GROUP BY gives one row
        records, filled, distinct, missing, untrimmed, blank, *counts = row
        matching = [c for c, count in zip(candidates, counts, strict=True) if count == filled]
        candidate, note = choose(matching) if filled else (TEXT, "holds no value in the sample")
        return Profile(
            source=source,
            candidate=candidate,
            records=records,
            filled=filled,
            distinct=distinct,
            tokens=tuple(missing or ()),
            untrimmed=untrimmed,
            blank=blank,
            matching=tuple(matching),
            note=note,
        )

    def add_examples(self, profile: Profile, tokens: tuple[str, ...]) -> Profile:
        """The profile with the first values that differ, as they will be served."""
        if profile.source.array or profile.source.object:
            return profile
        words = ", ".join(map(quote_text, ("", *tokens)))
        rows = self.engine.execute(
            f"SELECT CAST({profile.candidate.value('t')} AS VARCHAR), t FROM"
            f" (SELECT {profile.source.text} AS t, {LINE} AS line FROM sample ORDER BY line LIMIT 1000)"
            f" WHERE t NOT IN ({words}) AND length(t) <= {EXAMPLE_CHARACTERS}"
            f" GROUP BY t ORDER BY min(line) LIMIT {EXAMPLES}"
        ).fetchall()
        return replace(profile, examples=tuple(dict.fromkeys(show_example(profile.candidate, *row) for row in rows)))

    def find_key(self, profiles: list[Profile]) -> list[Profile]:
        """The columns that tell records apart: one, or few together; none where there are none."""
        usable = [p for p in profiles if p.required and p.candidate.logical not in {"number", "object", "array"}]
        single = [p for p in usable if p.unique]
        if single:
            return [min(single, key=lambda p: (rank_key_name(p.source.path[-1]), p.source.nested))]
        usable = [p for p in usable if p.distinct > 1][:KEY_CANDIDATES_MAXIMUM]
        for width in range(2, KEY_COLUMNS_MAXIMUM + 1):
            for chosen in itertools.combinations(usable, width):
                if self.tells_apart(chosen):
                    return list(chosen)
        return []

    def tells_apart(self, profiles: tuple[Profile, ...]) -> bool:
        """Whether no two records share the values of these columns; most are found to at a glance."""
        names = ", ".join(f"c{index}" for index in range(len(profiles)))
        columns = ", ".join(f"{profile.source.text} AS c{index}" for index, profile in enumerate(profiles))
        for limit in (f" LIMIT {KEY_SAMPLE_RECORDS}", ""):
            row = self.engine.execute(
                f"SELECT count(*) = count(DISTINCT ({names})) FROM (SELECT {columns} FROM sample{limit})"
            ).fetchone()
            if not row or not row[0]:
                return False
        return True


def walk(structure: dict[str, Any], path: tuple[str, ...]) -> Iterator[Source]:
    """The leaves of a structure of JSON objects."""
    for key, kind in structure.items():
        place = (*path, key)
        text = f"json_extract_string({RECORD}, {quote_text(''.join(map(point_to, place)))})"
        nested = bool(path) or key == JSON_COLUMN or key.lower().startswith("_decant") or key == ""
        plain = not re.search(r"[\"'\\]", "".join(place))
        if nested and not plain:
            continue
        if not isinstance(kind, dict):
            yield Source(place, text if nested else trim(text), nested=nested, array=isinstance(kind, list))
        elif len(place) < NESTING_LIMIT and 0 < len(kind) <= WIDTH_LIMIT and not any(map(is_odd, kind)):
            yield from walk(kind, place)
        else:
            yield Source(place, text, nested=nested, object=True)


def is_odd(key: str) -> bool:
    """Whether a key cannot be written into a path."""
    return not key or bool(re.search(r"[\"'\\]", key))


def rank_key_name(name: str) -> int:
    """How plainly a column's name says that it identifies the record; 0 is the plainest."""
    if name.lower() in {"id", "uuid", "key"}:
        return 0
    return 1 if re.search(r"(^|[^a-z])(id|key|code|uuid|guid)$|[a-z](Id|ID|Key)$", name) else 2


def write_transform(profile: Profile) -> str:
    """The expression for a nested value: blanks and words for no value are not taken away for it."""
    path = "".join(
        f".{step}" if step.isidentifier() and step.isascii() else f'."{step}"' for step in profile.source.path
    )
    expression = f"{JSON_COLUMN}->>{quote_text('$' + path)}"
    if profile.untrimmed:
        expression = f"trim({expression}, ' \t')"
    if profile.candidate is not TEXT:
        for token in (*([""] if profile.blank else []), *profile.tokens):
            expression = f"nullif({expression}, {quote_text(token)})"
    return expression


def write_digest(profiles: list[Profile], *, is_json: bool) -> str:
    """An expression that tells records apart which no column does."""
    if is_json:
        return f"md5(CAST({JSON_COLUMN} AS VARCHAR))"
    columns = ", ".join(f"coalesce({quote_name(profile.source.path[0])}, '')" for profile in profiles)
    return f"md5(concat_ws(chr(31), {columns}))"
