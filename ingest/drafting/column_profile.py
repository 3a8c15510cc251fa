"""What the columns of a sample hold: types by the rules that records are checked by, null tokens, keys, examples."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from catalog.model.dataset import FileFormat
from ingest.cleaning.plan import quote_text
from ingest.cleaning.raw_texts import trim
from ingest.cleaning.statement import INTERNAL_PREFIX, LINE, RECORD
from ingest.drafting.structure import Source, walk
from ingest.drafting.type_candidates import (
    MARKS,
    TEXT,
    Candidate,
    Digits,
    choose,
    choose_number,
    list_candidates,
    offer,
    show_example,
)
from ingest.readers.record_writer import ParsedBatch

# Words that mean no value where all the rest of a column is something else than text.
NULL_WORDS = (
    *("NA", "N/A", "n/a", "na", "#N/A", "NULL", "Null", "null", "\\N", "None", "none"),
    *("NaN", "nan", "-", "--", "?", "."),
)
PLAIN_NULLS = frozenset({"\\N", "#N/A"})  # mean nothing else anywhere
QUICK_SAMPLE_RECORDS = 1000
QUICK_SAMPLE_SHARE = 0.5  # of the first values; later ones may fit better
TYPE_SHARE = 0.98  # of the values: the rest are outliers, whose records are rejected
KEY_COLUMNS_MAXIMUM = 3
KEY_CANDIDATES_MAXIMUM = 12
KEY_SAMPLE_RECORDS = 50_000
EXAMPLES = 3
EXAMPLE_CHARACTERS = 60


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
    nulled: int  # values that are such words
    matching: tuple[Candidate, ...]  # every type that enough values fit, the best first
    outliers: int = 0  # values that do not fit the type
    outlier: str | None = None  # the first of them
    own_words: tuple[str, ...] = ()  # for no value in this column only: elsewhere they may be values
    doubtful: tuple[str, ...] = ()  # words that may mean no value, and are kept as text
    examples: tuple[object, ...] = ()
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
    """Looks at one parsed batch, which is in the table `sample` of a DuckDB connection."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, parsed: ParsedBatch, file_format: FileFormat) -> None:
        self.engine = engine
        self.parsed = parsed
        self.is_typed = file_format.is_typed
        names = [RECORD] if parsed.is_json else [f"{INTERNAL_PREFIX}{index}" for index in range(len(parsed.header))]
        declared = "".join(f", '{name}': 'VARCHAR'" for name in names)
        files = ", ".join(quote_text(str(file)) for file in parsed.records)
        engine.execute(
            f"CREATE TABLE sample AS SELECT * FROM read_csv([{files}],"
            f" columns = {{'{LINE}': 'BIGINT'{declared}}}, auto_detect = false, header = false,"
            f" delim = {quote_text(file_format.delimiter)}, quote = '\"', escape = '\"', nullstr = '\\0',"
            " strict_mode = true, new_line = '\\n', max_line_size = 4000000)"
        )

    def sources(self) -> list[Source]:
        """Every column; of JSON objects every leaf, down to a limit."""
        if not self.parsed.is_json:
            header = self.parsed.header
            return [
                Source((name,), trim(f"{INTERNAL_PREFIX}{index}"))
                for index, name in enumerate(header)
                if name and header.count(name) == 1 and not name.lower().startswith("_decant")
            ]
        row = self.engine.execute(f"SELECT json_group_structure(CAST({RECORD} AS JSON)) FROM sample").fetchone()
        structure = json.loads(row[0]) if row and row[0] else {}
        return list(walk(structure, (), typed=self.is_typed)) if isinstance(structure, dict) else []

    def profile(self) -> tuple[list[Profile], tuple[str, ...]]:
        """What each source holds, and the words for no value that the input should know."""
        sources = self.sources()
        first = [self.look_at(source, NULL_WORDS) for source in sources]
        # In a column of text they may be values: the country NA.
        texts = {word for p in first if p.candidate is TEXT for word in p.tokens} - PLAIN_NULLS
        found = {word for p in first for word in p.tokens if p.candidate is not TEXT or word in PLAIN_NULLS}
        tokens = tuple(word for word in NULL_WORDS if word in found - texts)
        return [self.settle(profile, tokens) for profile in first], tokens

    def settle(self, profile: Profile, tokens: tuple[str, ...]) -> Profile:
        """The profile with the words for no value that the input has, its exact type, an outlier and examples."""
        if profile.candidate is TEXT and profile.source.kept:
            profile = self.look_at(replace(profile.source, text=profile.source.kept), NULL_WORDS)
        others = tuple(word for word in profile.tokens if word not in tokens)
        if profile.candidate is TEXT and others:
            profile = replace(self.look_at(profile.source, tokens), doubtful=others)
        elif others:
            profile = replace(profile, own_words=others)
        words = (*tokens, *profile.own_words)
        profile = refine_number(self.engine, profile, words, is_json=self.parsed.is_json)
        if profile.outliers:
            row = self.engine.execute(
                f"SELECT t FROM (SELECT {profile.source.text} AS t, {LINE} AS line FROM sample)"
                f" WHERE {is_real(words)} AND ({profile.candidate.value('t')}) IS NULL ORDER BY line LIMIT 1"
            ).fetchone()
            profile = replace(profile, outlier=row[0] if row else None)
        return self.add_examples(profile, words)

    def look_at(self, source: Source, tokens: tuple[str, ...]) -> Profile:
        """The type that most values of a source fit, aside from words for no value; text where too few fit one."""
        if source.array or source.object:
            return self.measure(source, tokens, offer("array" if source.array else "object"))
        # Most types are out after a glance at the first records.
        candidates = self.find_likely(source, tokens)
        counts = self.count(source, tokens, candidates, f" LIMIT {QUICK_SAMPLE_RECORDS}")
        if counts[0] < QUICK_SAMPLE_RECORDS:
            return judge(source, candidates, counts)  # there are no others
        likely = judge(source, candidates, counts, share=QUICK_SAMPLE_SHARE)
        return self.measure(source, tokens, [c for c in candidates if c in likely.matching])

    def find_likely(self, source: Source, tokens: tuple[str, ...]) -> list[Candidate]:
        """The candidates whose marks enough of the first values hold, whether they fit or not."""
        counted = ", ".join(
            f"count(*) FILTER (real AND regexp_matches(t, {quote_text(form)}))" for form in MARKS.values()
        )
        row = self.engine.execute(
            f"SELECT count(*) FILTER (real), {counted} FROM (SELECT *, {is_real(tokens)} AS real"
            f" FROM (SELECT {source.text} AS t FROM sample LIMIT {QUICK_SAMPLE_RECORDS}))"
        ).fetchone()
        assert row is not None  # noqa: S101 - a statement without GROUP BY gives one row
        filled, *counts = row
        held = {mark for mark, count in zip(MARKS, counts, strict=True) if count >= QUICK_SAMPLE_SHARE * filled}
        return [candidate for candidate in list_candidates() if candidate.marks <= held]

    def measure(self, source: Source, tokens: tuple[str, ...], candidates: list[Candidate]) -> Profile:
        """What the source holds, and which of the candidates enough of its values fit."""
        return judge(source, candidates, self.count(source, tokens, candidates))

    def count(
        self, source: Source, tokens: tuple[str, ...], candidates: list[Candidate], limit: str = ""
    ) -> tuple[Any, ...]:
        """Facts of the source; for each candidate how many values fit, and how many others have its barred form."""
        values = "".join(f", ({c.value('t')}) IS NOT NULL AS fits{index}" for index, c in enumerate(candidates))
        fits = "".join(
            f", count(*) FILTER (real AND fits{index})"
            f", count(*) FILTER (real AND NOT fits{index} AND {matches(c.barred)})"
            for index, c in enumerate(candidates)
        )
        row: tuple[Any, ...] | None = self.engine.execute(
            "SELECT count(*), count(*) FILTER (real), count(DISTINCT t) FILTER (real),"
            " list(DISTINCT trim(t, ' \t')) FILTER (NOT real AND trim(t, ' \t') <> ''),"
            " coalesce(bool_or(t <> trim(t, ' \t')), false), coalesce(bool_or(trim(t, ' \t') = ''), false),"
            f" count(*) FILTER (NOT real AND trim(t, ' \t') <> '') {fits}"
            f" FROM (SELECT *, {is_real(tokens)} AS real{values} FROM (SELECT {source.text} AS t FROM sample{limit}))"
        ).fetchone()
        assert row is not None  # noqa: S101 - a statement without GROUP BY gives one row
        return row

    def add_examples(self, profile: Profile, tokens: tuple[str, ...]) -> Profile:
        """The profile with the first values that differ, as they will be served."""
        if profile.source.array or profile.source.object:
            return profile
        rows = self.engine.execute(
            f"SELECT CAST({profile.candidate.value('t')} AS VARCHAR), t FROM"
            f" (SELECT {profile.source.text} AS t, {LINE} AS line FROM sample ORDER BY line LIMIT 1000)"
            f" WHERE {is_real(tokens)} AND ({profile.candidate.value('t')}) IS NOT NULL"
            f" AND length(t) <= {EXAMPLE_CHARACTERS}"
            f" GROUP BY t ORDER BY min(line) LIMIT {EXAMPLES}"
        ).fetchall()
        return replace(profile, examples=tuple(dict.fromkeys(show_example(profile.candidate, *row) for row in rows)))

    def find_key(self, profiles: list[Profile]) -> list[Profile]:
        """The columns whose values are unique: one, or few together; none where there are none."""
        usable = [p for p in profiles if p.required and p.candidate.logical not in {"number", "object", "array"}]
        single = [p for p in usable if p.unique]
        if single:
            return [min(single, key=lambda p: (rank_key_name(p.source.path[-1]), p.source.nested))]
        usable = [p for p in usable if p.distinct > 1][:KEY_CANDIDATES_MAXIMUM]
        for width in range(2, KEY_COLUMNS_MAXIMUM + 1):
            for chosen in itertools.combinations(usable, width):
                if self.is_distinct(chosen):
                    return list(chosen)
        return []

    def is_distinct(self, profiles: tuple[Profile, ...]) -> bool:
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


def judge(
    source: Source, candidates: list[Candidate], facts: tuple[Any, ...], *, share: float = TYPE_SHARE
) -> Profile:
    """The profile of a source by what was counted: the types that at least this share of its values fit."""
    records, filled, distinct, missing, untrimmed, blank, nulled, *counts = facts
    fitting = [
        (candidate, fit)
        for candidate, fit, barred in zip(candidates, counts[::2], counts[1::2], strict=True)
        if fit >= share * filled and not barred
    ]
    most = max((fit for _, fit in fitting), default=filled)
    best = [candidate for candidate, fit in fitting if fit == most]
    candidate, note = choose(best) if filled else (TEXT, "has no value in the sample")
    return Profile(
        source=source,
        candidate=candidate,
        records=records,
        filled=filled,
        distinct=distinct,
        tokens=tuple(word for word in NULL_WORDS if word in (missing or ())),
        untrimmed=untrimmed,
        blank=blank,
        nulled=nulled,
        matching=tuple(candidate for candidate, _ in fitting),
        outliers=0 if candidate is TEXT else filled - most,
        note=note,
    )


def is_real(tokens: tuple[str, ...]) -> str:
    """SQL for whether the text `t` is a value, and no word for none."""
    return f"t IS NOT NULL AND trim(t, ' \t') NOT IN ({', '.join(map(quote_text, ('', *tokens)))})"


def matches(file_format: str | None) -> str:
    """SQL for whether the text `t` has this form."""
    return f"regexp_full_match(trim(t, ' \t'), {quote_text(file_format)})" if file_format else "false"


def refine_number(
    engine: duckdb.DuckDBPyConnection, profile: Profile, tokens: tuple[str, ...], *, is_json: bool
) -> Profile:
    """The profile with the type of number that keeps all digits of its values; text where there is none."""
    if profile.candidate.logical != "number":
        return profile
    row = engine.execute(
        "SELECT coalesce(bool_and(regexp_full_match(t, '-?[0-9]*\\.?[0-9]*')), false),"
        " coalesce(max(length(regexp_extract(t, '^-?0*([0-9]*)', 1))), 0), coalesce(max(scale), 0),"
        " coalesce(min(scale) FILTER (scale > 0), 0),"
        " coalesce(max(length(ltrim(replace(replace(t, '-', ''), '.', ''), '0'))), 0),"
        " coalesce(bool_or(scale > 1 AND t LIKE '%0'), false)"
        " FROM (SELECT t, length(regexp_extract(t, '\\.([0-9]*)$', 1)) AS scale"
        f" FROM (SELECT trim(t, ' \t') AS t FROM (SELECT {profile.source.text} AS t FROM sample)"
        f" WHERE {is_real(tokens)} AND ({profile.candidate.value('t')}) IS NOT NULL))"
    ).fetchone()
    assert row is not None  # noqa: S101 - a statement without GROUP BY gives one row
    candidate, note = choose_number(Digits(*row), profile.candidate, is_json=is_json)
    return replace(profile, candidate=candidate, note=profile.note or note)


def rank_key_name(name: str) -> int:
    """How plainly a column's name says that it identifies the record; 0 is the plainest."""
    if name.lower() in {"id", "uuid", "key"}:
        return 0
    return 1 if re.search(r"(^|[^a-z])(id|key|code|uuid|guid)$|[a-z](Id|ID|Key)$", name) else 2
