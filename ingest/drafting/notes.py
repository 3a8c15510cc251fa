"""What a draft guessed of each column, in words: nothing is dropped or turned without a note."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.model.dataset import FileFormat
from ingest.drafting.column_profile import Profile
from ingest.drafting.type_candidates import TEXT

SHOWN_CHARACTERS = 60


def note_file_format(file_format: FileFormat, *, asked: bool) -> Iterator[str]:
    """What was guessed of the file itself, unless its author has said it."""
    if file_format.columns and not asked:
        yield "the first line is read as a record, not as column names: use --header if it is a header"


def note_profile(name: str, profile: Profile) -> Iterator[str]:
    """What was guessed of a column."""
    if profile.note:
        yield f"{name}: {profile.note}"
    read_as_null = profile.candidate is not TEXT or not profile.source.nested
    if profile.nulled and read_as_null:
        words = ", ".join(profile.tokens)
        yield f"{name}: {words} is read as no value in {profile.nulled:,} of {profile.records:,} records"
    if profile.outliers and profile.outlier is not None:
        kind = profile.candidate.physical or profile.candidate.logical
        shown = repr(profile.outlier[:SHOWN_CHARACTERS])
        yield (
            f"{name}: {profile.outliers:,} of {profile.filled:,} values are not of type {kind}, such as"
            f" {shown}: rejected"
        )
    if profile.doubtful:
        yield f"{name}: holds {', '.join(profile.doubtful)}: list it in nullValues if it means no value"
