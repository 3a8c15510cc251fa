"""Pieces of a batch, each parsed by itself wherever that is, and what comes of them put together.

A piece is some whole parts, or some whole lines of one part. Lines count from the beginning of its first part: where
that is in the batch is known when the pieces before it are parsed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from catalog.model.dataset import FileFormat
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import make_reader, name_part, record_writer
from ingest.readers.json_lines import LineRange, NdjsonReader
from ingest.readers.record_writer import (
    KNOWN_KEYS_LIMIT,
    ParsedBatch,
    ParsedPart,
    RecordWriter,
    SlicedFile,
    open_rejects,
)
from ingest.readers.replayed_rejects import FORMAT as REJECTS

WHOLE_SLICES = 4  # a part of so many slices may be one piece
LINES = ("ndjson", "debezium", "cloudevents")  # formats whose every line is a record, or none, by itself


@dataclass(frozen=True)
class Piece:
    """What is parsed by itself."""

    parts: tuple[LandedPart, ...]
    lines: LineRange | None = None  # where it is some lines of its one part

    @property
    def begins(self) -> bool:
        """Whether its first part begins in it."""
        return self.lines is None or self.lines.first == 1


def can_be_pieces(batch: LandedBatch, file_format: FileFormat) -> bool:
    """Whether every part is either cut at its lines, or small enough to be parsed whole by one task."""
    forms = [part.file_format or file_format for part in batch.parts]
    return all(
        # Replayed rejects say themselves how each record is to be parsed.
        form.format != REJECTS
        and form.is_json == file_format.is_json
        and (form.format in LINES or part.size <= WHOLE_SLICES * record_writer.SLICE_BYTES)
        for part, form in zip(batch.parts, forms, strict=True)
    )


def cut_batch(
    batch: LandedBatch, file_format: FileFormat, limit: UnpackLimit, folder: Path
) -> tuple[list[Piece], dict[int, Path]]:
    """The pieces of a batch, each about as large as a slice, and by number the files of those that are lines."""
    pieces: list[Piece] = []
    lines: dict[int, Path] = {}
    together: list[LandedPart] = []
    for part in batch.parts:
        if together and sum(each.size for each in [*together, part]) > record_writer.SLICE_BYTES:
            pieces.append(Piece(tuple(together)))
            together = []
        reader = make_reader(part.file_format or file_format, limit, folder)
        if part.size > record_writer.SLICE_BYTES and isinstance(reader, NdjsonReader):
            with name_part(part):
                for piece, file in cut_lines(part, reader, folder, len(pieces)):
                    lines[len(pieces)] = file
                    pieces.append(piece)
        else:
            together.append(part)
    if together:
        pieces.append(Piece(tuple(together)))
    return pieces, lines


def cut_lines(part: LandedPart, reader: NdjsonReader, folder: Path, number: int) -> Iterator[tuple[Piece, Path]]:
    """Some lines of a part at a time, and the file that they are in; the files are numbered from `number` on."""
    blocks = reader.cut(part)
    block: tuple[LineRange, bytes] | None = next(blocks, (LineRange(1, b"\n"), b""))
    while block is not None:
        lines, path = block[0], folder / f"lines-{number}"
        with path.open("wb") as file:
            while block is not None and file.tell() < record_writer.SLICE_BYTES:
                file.write(block[1])
                block = next(blocks, None)
        yield Piece((part,), lines), path
        number += 1


@dataclass(frozen=True)
class ParsedPiece:
    """What was found in a piece, beside the records."""

    header: tuple[str, ...]  # as of a batch
    is_json: bool
    raw: int
    malformed: int
    last: int  # the last line that a record, or nothing but a header, came to; 0 where there was nothing
    parts: tuple[ParsedPart, ...]
    notes: tuple[str, ...]

    def dump(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> ParsedPiece:
        """From such a text."""
        fields = json.loads(text)
        parts = [
            ParsedPart(**part | {"columns": None if part["columns"] is None else tuple(part["columns"])})
            for part in fields["parts"]
        ]
        return cls(
            **fields | {"header": tuple(fields["header"]), "parts": tuple(parts), "notes": tuple(fields["notes"])}
        )


def parse_piece(
    piece: Piece,
    file_format: FileFormat,
    needed: Iterable[str],
    limit: UnpackLimit,
    folder: Path,
    malformed: Path,
) -> tuple[ParsedPiece, Path]:
    """What is in a piece, and the file of its records; SourceError where it cannot be read.

    Malformed records go into the file `malformed`: a JSON array in each line.
    """
    out = SlicedFile(folder, sliced=False)
    with closing(out), malformed.open("w", encoding="utf-8") as bad:
        writer = RecordWriter(out, lambda row: bad.write(json.dumps(row) + "\n"), file_format.delimiter, needed)
        for part in piece.parts:
            reader = make_reader(part.file_format or file_format, limit, folder)
            with name_part(part):
                if piece.lines is None:
                    reader.parse(part, writer)
                elif isinstance(reader, NdjsonReader):
                    with part.path.open("rb") as stream:
                        reader.parse_range(part.name, piece.lines, stream, writer)
    found = ParsedPiece(
        header=writer.header,
        is_json=writer.is_json,
        raw=writer.raw,
        malformed=writer.malformed_count,
        last=writer.last,
        parts=tuple(writer.parts),
        notes=tuple(writer.notes),
    )
    return found, out.paths[0]


@dataclass
class Joined:
    """What the pieces are together."""

    header: tuple[str, ...] = ()
    parts: list[ParsedPart] = field(default_factory=list)
    before: list[int] = field(default_factory=list)  # of each piece, the lines of the batch before its line 1
    last: int = 0  # the line of the last record
    keys: set[str] = field(default_factory=set)  # of the part that was last begun

    def add(self, piece: Piece, parsed: ParsedPiece) -> None:
        """Takes the next piece."""
        if piece.begins:
            self.keys = set()
            self.parts += [replace(part, offset=part.offset + self.last) for part in parsed.parts]
        self.before.append(self.last if piece.begins else self.before[-1])
        if parsed.last:
            self.last = self.before[-1] + parsed.last
        if not parsed.is_json:
            self.header = self.header or parsed.header
        elif len(self.keys) < KNOWN_KEYS_LIMIT:
            self.keys |= set(parsed.header)
            self.header = tuple(dict.fromkeys([*self.header, *parsed.header]))


def join_pieces(
    pieces: Sequence[Piece],
    parsed: Sequence[ParsedPiece],
    rejected: Sequence[Path | None],
    judged: Sequence[Path],
    needed: Iterable[str],
    folder: Path,
) -> ParsedBatch:
    """The batch that these pieces are, with their files of malformed and of judged records."""
    joined = Joined()
    with open_rejects(folder / "malformed.csv") as reject:
        for piece, found, file in zip(pieces, parsed, rejected, strict=True):
            joined.add(piece, found)
            if file is not None:
                with file.open(encoding="utf-8", newline="\n") as lines:
                    for line in lines:
                        number, *rest = json.loads(line)
                        reject([number + joined.before[-1], *rest])
    return ParsedBatch(
        records=(),
        malformed=folder / "malformed.csv",
        header=joined.header or tuple(needed),
        is_json=any(found.is_json for found in parsed),
        raw=sum(found.raw for found in parsed),
        malformed_count=sum(found.malformed for found in parsed),
        parts=tuple(joined.parts),
        notes=tuple(dict.fromkeys(note for found in parsed for note in found.notes)),
        judged=tuple(zip(judged, joined.before, strict=True)),
    )
