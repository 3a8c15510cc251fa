"""A first contract from a sample file: what is proposed holds for every record of the sample, or is not proposed.

The sample is cut by the reader that loads will use, its columns are judged by the rules that records are judged by,
and the finished contract is tried on the whole sample; what a record would be rejected for is taken back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from catalog.contract import read_contract
from catalog.dataset import Product, RawForm
from catalog.errors import ContractError
from catalog.permits import Permits
from catalog.setting_values import ANY_PRODUCT
from catalog.settings import Settings
from ingest.candidates import TEXT
from ingest.clean import compile_cleaning
from ingest.draft_text import Sample, choose_names, free_name, write_contract
from ingest.engine import find_native, judge, open_engine
from ingest.errors import SourceError
from ingest.landing import LandedBatch
from ingest.lint import lint
from ingest.profile import Profile, Profiler, write_digest
from ingest.readers import cut_batch
from ingest.readers.sink import CutBatch
from ingest.sniff import as_part, sniff_form
from ingest.unpacking import UnpackLimit

DIGEST_KEY = "record_id"
ATTEMPTS = 4


@dataclass(frozen=True)
class Draft:
    """A contract's text, and what its author should know."""

    text: str
    records: int
    malformed: int
    key: tuple[str, ...]
    made_up_key: bool  # no column, nor few together, tell the records apart
    notes: tuple[str, ...]


def draft_contract(file: Path, settings: Settings, *, header: bool | None = None) -> Draft:
    """A contract that loads the file without rejecting a record that is well formed.

    `header` says whether the first line of delimited text names the columns; by default the file is asked.
    """
    limit = UnpackLimit.of(settings)
    form = sniff_form(file, limit, header=header)
    with TemporaryDirectory(prefix="decant-sample-") as name:
        folder = Path(name)
        batch = LandedBatch("", (as_part(file),))
        cut = cut_batch(batch, form, (), folder, limit, lambda amount: None)
        if cut.raw == cut.malformed_count:
            raise SourceError(f"{file.name} holds no record that is well formed: there is nothing to learn from it.")
        with open_engine(settings, folder) as engine:
            profiler = Profiler(engine, cut, form.delimiter)
            profiles, nulls = profiler.profile()
            key = profiler.find_key(profiles)
        if not profiles:
            raise SourceError(f"{file.name} has no column with a name: there is nothing to make properties of.")
        sample = describe(file, form, cut, profiles, key, nulls)
        closed = Permits(settings, "").refuse_path(file.parent)
        # Whoever drafts a contract has chosen this file: the draft is tried as if its folder were open already.
        tried = settings.model_copy(update={"input_roots": {ANY_PRODUCT: (str(file.resolve().parent),)}})
        sample, product = settle(sample, tried, folder)
    notes = [
        *([f"the folder {file.resolve().parent} has to be listed in DECANT_INPUT_ROOTS"] if closed else ()),
        *sample.cut.notes,
        *(f"{n}: {p.note}" for n, p in zip(sample.names, sample.profiles, strict=True) if p.note),
    ]
    return Draft(
        text=write_contract(sample, settings, notes),
        records=cut.raw,
        malformed=cut.malformed_count,
        key=next(iter(product.datasets.values())).key,
        made_up_key=sample.digest is not None,
        notes=tuple(notes),
    )


def describe(
    file: Path, form: RawForm, cut: CutBatch, profiles: list[Profile], key: list[Profile], nulls: tuple[str, ...]
) -> Sample:
    """The sample with a name for each property and a key, made up where there is none."""
    names = choose_names(profiles)
    by_source = {profile.source: name for profile, name in zip(profiles, names, strict=True)}
    digest = None if key else write_digest(profiles, is_json=cut.is_json)
    chosen = tuple(by_source[profile.source] for profile in key) or (free_name(DIGEST_KEY, names),)
    return Sample(file, form, cut, tuple(names), tuple(profiles), chosen, nulls, digest)


def settle(sample: Sample, settings: Settings, folder: Path) -> tuple[Sample, Product]:
    """The sample whose contract rejects none of its records: what a property is rejected for becomes text."""
    for _ in range(ATTEMPTS):
        product = read_draft(write_contract(sample, settings, ()), settings, folder)
        broken = find_broken(product, sample.cut, settings, folder)
        if not broken:
            return sample, product
        profiles = [
            replace(profile, candidate=TEXT, filled=0, note=broken[name]) if name in broken else profile
            for name, profile in zip(sample.names, sample.profiles, strict=True)
        ]
        sample = replace(sample, profiles=tuple(profiles))
    raise SourceError(f"No contract could be found that {sample.file.name} keeps: {'; '.join(broken.values())}.")


def read_draft(text: str, settings: Settings, folder: Path) -> Product:
    """The product of a drafted contract; ContractError where lint refuses it."""
    path = folder / "draft.odcs.yaml"
    path.write_text(text, encoding="utf-8")
    product, _ = read_contract(path, settings)
    errors = [finding for finding in lint(settings, path)[0] if finding.severity == "error"]
    if product is None or errors:
        raise ContractError(errors)
    return product


def find_broken(product: Product, cut: CutBatch, settings: Settings, folder: Path) -> dict[str, str]:
    """The properties that records of the sample are rejected for, each with the first reason."""
    (dataset,) = product.datasets.values()
    plan = compile_cleaning(dataset, cut.header, find_native(dataset), is_json=cut.is_json)
    with open_engine(settings, folder) as engine:
        judge(engine, plan, cut)
        rows = engine.execute("SELECT DISTINCT reasons FROM judged WHERE reasons IS NOT NULL LIMIT 1000").fetchall()
    reasons = [reason for (text,) in rows for reason in json.loads(text)]
    return {r["property"]: f"{r['rule']} is broken by {r['value']!r}" for r in reversed(reasons) if r["property"]}
