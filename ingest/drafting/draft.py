"""A first contract from a sample file: what is proposed holds for the sample, but for outliers that are named.

The sample is parsed by the reader that loads will use, its columns are checked by the rules of records,
and the finished contract is tried on the whole sample; what other records would be rejected for is taken back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from catalog.contract.load import read_contract
from catalog.inputs.permits import Permits
from catalog.model.dataset import FileFormat, Product
from ingest.cleaning.engine import evaluate_rules, find_native, open_engine, out_of_memory
from ingest.cleaning.lint import lint
from ingest.cleaning.plan import compile_cleaning
from ingest.drafting.column_profile import Profile, Profiler
from ingest.drafting.contract_writer import Sample, choose_names, free_name, write_contract, write_digest
from ingest.drafting.detect_format import as_part, detect_file_format
from ingest.drafting.notes import note_file_format, note_profile
from ingest.drafting.type_candidates import TEXT
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import parse_batch
from ingest.readers.record_writer import ParsedBatch
from runtime.errors import ContractError
from runtime.settings.settings import Settings
from runtime.settings.values import ANY_PRODUCT

DIGEST_KEY = "record_id"
ATTEMPTS = 4


@dataclass(frozen=True)
class Draft:
    """A contract's text, and what its author should know."""

    text: str
    records: int
    malformed: int
    rejected: int  # well-formed records that the contract rejects
    key: tuple[str, ...]
    made_up_key: bool  # no column, nor few together, are unique
    notes: tuple[str, ...]


def draft_contract(file: Path, settings: Settings, *, header: bool | None = None) -> Draft:
    """A contract that loads the file, and rejects its outliers alone: at most 2 % of a column's values.

    `header` says whether the first line of delimited text names the columns; by default the file is asked.
    """
    limit = UnpackLimit.of(settings)
    file_format = detect_file_format(file, limit, header=header)
    with TemporaryDirectory(prefix="decant-sample-") as name:
        folder = Path(name)
        batch = LandedBatch("", (as_part(file),))
        parsed = parse_batch(batch, file_format, (), folder, limit, lambda amount: None)
        if parsed.raw == parsed.malformed_count:
            raise SourceError(f"{file.name} has no well-formed record: a contract cannot be drafted.")
        with open_engine(settings, folder) as engine:
            try:
                profiler = Profiler(engine, parsed, file_format)
                profiles, nulls = profiler.profile()
                key = profiler.find_key(profiles)
            except duckdb.OutOfMemoryException as error:
                raise out_of_memory(settings, 0) from error
        if not profiles:
            raise SourceError(f"{file.name} has no named column: a contract cannot be drafted.")
        sample = describe(file, file_format, parsed, profiles, key, nulls)
        closed = Permits(settings, "").refuse_path(file.parent)
        # The command's user has chosen this file: the draft is tried as if its folder were open already.
        tried = settings.model_copy(update={"input_roots": {ANY_PRODUCT: (str(file.resolve().parent),)}})
        sample, product, rejected = settle(sample, tried, folder)
    notes = [
        *([f"the folder {file.resolve().parent} must be listed in DECANT_INPUT_ROOTS"] if closed else ()),
        *sample.parsed.notes,
        *note_file_format(file_format, asked=header is not None),
        *(note for n, p in zip(sample.names, sample.profiles, strict=True) for note in note_profile(n, p)),
    ]
    return Draft(
        text=write_contract(sample, settings, notes),
        records=parsed.raw,
        malformed=parsed.malformed_count,
        rejected=rejected,
        key=next(iter(product.datasets.values())).key,
        made_up_key=sample.digest is not None,
        notes=tuple(notes),
    )


def describe(
    file: Path,
    file_format: FileFormat,
    parsed: ParsedBatch,
    profiles: list[Profile],
    key: list[Profile],
    nulls: tuple[str, ...],
) -> Sample:
    """The sample with a name for each property and a key, made up where there is none."""
    names = choose_names(profiles)
    by_source = {profile.source: name for profile, name in zip(profiles, names, strict=True)}
    digest = None if key else write_digest(profiles, is_json=parsed.is_json)
    chosen = tuple(by_source[profile.source] for profile in key) or (free_name(DIGEST_KEY, names),)
    return Sample(file, file_format, parsed, tuple(names), tuple(profiles), chosen, nulls, digest)


def settle(sample: Sample, settings: Settings, folder: Path) -> tuple[Sample, Product, int]:
    """The sample whose contract rejects outliers alone, and how many; what else is rejected becomes text."""
    for _ in range(ATTEMPTS):
        product = read_draft(write_contract(sample, settings, ()), settings, folder)
        rejected, broken = find_broken(product, sample.parsed, settings, folder)
        known = {name: p.outliers for name, p in zip(sample.names, sample.profiles, strict=True) if p.outliers}
        texts = {name: note for name, (records, note) in broken.items() if records > known.get(name, 0)}
        (dataset,) = product.datasets.values()
        if not texts and rejected + sample.parsed.malformed_count > dataset.max_rejected * sample.parsed.raw:
            texts = dict.fromkeys(known, "left as text: the outliers of all columns exceed maxRejected")
        if not texts:
            return sample, product, rejected
        profiles = [
            leave_text(profile, texts[name]) if name in texts else profile
            for name, profile in zip(sample.names, sample.profiles, strict=True)
        ]
        sample = replace(sample, profiles=tuple(profiles))
    raise SourceError(f"No contract was found that {sample.file.name} satisfies: {'; '.join(texts.values())}.")


def leave_text(profile: Profile, note: str) -> Profile:
    """The profile as that of a column of texts, which keeps the words for no value that only it had."""
    tokens = tuple(word for word in profile.tokens if word not in profile.own_words)
    return replace(
        profile,
        candidate=TEXT,
        filled=0,
        outliers=0,
        tokens=tokens,
        nulled=profile.nulled if tokens else 0,
        own_words=(),
        doubtful=profile.own_words,
        note=note,
    )


def read_draft(text: str, settings: Settings, folder: Path) -> Product:
    """The product of a drafted contract; ContractError where lint refuses it."""
    path = folder / "draft.odcs.yaml"
    path.write_text(text, encoding="utf-8")
    product, _ = read_contract(path, settings)
    errors = [finding for finding in lint(settings, path)[0] if finding.severity == "error"]
    if product is None or errors:
        raise ContractError(errors)
    return product


def find_broken(
    product: Product, parsed: ParsedBatch, settings: Settings, folder: Path
) -> tuple[int, dict[str, tuple[int, str]]]:
    """How many records of the sample are rejected; for each property how many, and a reason."""
    (dataset,) = product.datasets.values()
    plan = compile_cleaning(dataset, parsed.header, find_native(dataset), is_json=parsed.is_json)
    columns = max(plan.width, len(plan.values))  # as the load has them: wide records need more memory
    with open_engine(settings, folder, columns=columns) as engine:
        try:
            evaluate_rules(engine, plan, parsed)
        except duckdb.OutOfMemoryException as error:
            raise out_of_memory(settings, columns) from error
        (rejected,) = engine.execute("SELECT count(*) FROM judged WHERE reasons IS NOT NULL").fetchall()[0]
        rows = engine.execute(
            "SELECT r->>'property', count(DISTINCT line), arg_min(r->>'rule', line), arg_min(r->>'value', line)"
            " FROM (SELECT line, unnest(from_json(reasons, '[\"JSON\"]')) AS r FROM judged WHERE reasons IS NOT NULL)"
            " WHERE r->>'property' IS NOT NULL GROUP BY 1"
        ).fetchall()
    return rejected, {name: (records, f"{rule} is broken by {value!r}") for name, records, rule, value in rows}
