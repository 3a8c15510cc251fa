"""The landing zone: raw batches kept once, and archives that are not what they should be."""

from __future__ import annotations

import gzip
import io
import random
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.errors import SourceError, SourceTooLargeError, UnsafeArchiveError
from ingest.inputs.raw_batch import RawPart
from ingest.landing.landed_batch import LandedPart
from ingest.landing.landing_zone import land_part
from ingest.landing.unpacking import RATIO_FLOOR_BYTES, UnpackLimit, open_landed
from tests.support.examples import examples

LIMIT = 100_000_000
TEXT = b"id,name\n1,Ann\n2,Ben\n" * 50


def land_bytes(folder: Path, content: bytes, limit: int = LIMIT, piece: int = 7) -> LandedPart:
    """The part of some content that comes in pieces."""
    chunks = (content[start : start + piece] for start in range(0, len(content), piece))
    return land_part(RawPart("test", chunks), folder, limit, lambda size: None)


def read_landed(folder: Path, content: bytes, limit: int = LIMIT) -> bytes:
    """What is read of a batch, once landed."""
    with open_landed(land_bytes(folder, content, piece=1 << 20), UnpackLimit(limit)) as stream:
        return b"".join(iter(lambda: stream.read(1 << 16), b""))


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def make_zip(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def make_link_zip(target: str) -> bytes:
    """A zip of one symbolic link."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo("data.csv")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    return packed.getvalue()


def make_encrypted_zip() -> bytes:
    """A zip whose member says that it is encrypted."""
    packed = bytearray(make_zip(("data.csv", TEXT), method=zipfile.ZIP_STORED))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


def test_a_batch_has_the_digest_of_the_bytes_that_came(tmp_path: Path) -> None:
    told: list[int] = []
    batch = land_part(RawPart("test", iter([b"ab", b"", b"c"])), tmp_path / "new", LIMIT, told.append)
    assert batch.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (batch.path.read_bytes(), batch.size, sum(told)) == (b"abc", 3, 3)
    assert files_in(tmp_path) == [batch.path]


def test_an_empty_batch_is_a_batch(tmp_path: Path) -> None:
    assert land_bytes(tmp_path, b"").size == 0
    assert read_landed(tmp_path, b"") == b""


def test_a_batch_up_to_the_limit_is_kept_and_of_a_larger_one_nothing(tmp_path: Path) -> None:
    assert land_bytes(tmp_path / "kept", TEXT, limit=len(TEXT)).size == len(TEXT)
    with pytest.raises(SourceTooLargeError):
        land_bytes(tmp_path / "refused", TEXT, limit=len(TEXT) - 1)
    assert files_in(tmp_path / "refused") == []


def test_a_source_larger_than_the_limit_is_not_read_to_its_end(tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 100

    with pytest.raises(SourceTooLargeError):
        land_part(RawPart("test", endless()), tmp_path, 1000, lambda size: None)


def test_a_source_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"abc"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        land_part(RawPart("test", breaking()), tmp_path, LIMIT, lambda size: None)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda text: text, id="plain"),
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(lambda text: gzip.compress(text[:99]) + gzip.compress(text[99:]), id="gzip in two members"),
        pytest.param(zstandard.compress, id="zstd"),
        pytest.param(
            lambda text: zstandard.compress(text[:99]) + zstandard.compress(b"") + zstandard.compress(text[99:]),
            id="zstd in three frames",
        ),
        pytest.param(lambda text: make_zip(("data.csv", text)), id="zip"),
        pytest.param(lambda text: make_zip(("data.csv", text), method=zipfile.ZIP_STORED), id="stored zip"),
        pytest.param(lambda text: make_zip(("data.csv", text), method=zipfile.ZIP_BZIP2), id="bzip2 zip"),
        pytest.param(lambda text: make_zip(("data.csv", text), method=zipfile.ZIP_LZMA), id="lzma zip"),
        pytest.param(lambda text: make_zip(("in/", b""), ("in/data.csv", text)), id="zip with a folder"),
        pytest.param(lambda text: make_zip(("..data..csv", text)), id="dots in a name"),
    ],
)
def test_a_batch_is_read_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert read_landed(tmp_path, pack(TEXT)) == TEXT


def test_packed_data_inside_an_archive_stays_packed(tmp_path: Path) -> None:
    inner = gzip.compress(TEXT)
    assert read_landed(tmp_path, make_zip(("data.csv.gz", inner))) == inner


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        pytest.param(make_zip(), "exactly one file; it contains 0", id="none"),
        pytest.param(make_zip(("in/", b"")), "exactly one file; it contains 0", id="a folder"),
        pytest.param(make_zip(("a.csv", b"1"), ("b.csv", b"2")), "exactly one file; it contains 2", id="two files"),
        pytest.param(
            make_zip(("../a.csv", TEXT)), "the archive contains a link or a path outside the archive", id="a path up"
        ),
        pytest.param(
            make_zip(("in/../../a.csv", TEXT)),
            "the archive contains a link or a path outside the archive",
            id="a path up inside",
        ),
        pytest.param(
            make_zip(("..\\a.csv", TEXT)),
            "the archive contains a link or a path outside the archive",
            id="a path up of Windows",
        ),
        pytest.param(
            make_zip(("/etc/a.csv", TEXT)),
            "the archive contains a link or a path outside the archive",
            id="an absolute path",
        ),
        pytest.param(
            make_zip(("a.csv", TEXT), ("../b.csv", b"")),
            "the archive contains a link or a path outside the archive",
            id="a second path up",
        ),
        pytest.param(make_link_zip("/etc/passwd"), "link", id="a symbolic link"),
        pytest.param(make_encrypted_zip(), "encrypted", id="encrypted"),
    ],
)
def test_an_archive_of_anything_but_one_plain_file_is_unsafe(tmp_path: Path, packed: bytes, message: str) -> None:
    with pytest.raises(UnsafeArchiveError, match=message) as caught:
        read_landed(tmp_path, packed)
    assert caught.value.code == "unsafe_archive"


ZEROS = b"\0" * (RATIO_FLOOR_BYTES + 1)


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, zstandard.compress, lambda text: make_zip(("a.csv", text))],
    ids=["gzip", "zstd", "zip"],
)
def test_an_archive_that_unpacks_to_over_a_hundred_times_its_size_is_too_large(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(SourceTooLargeError) as caught:
        read_landed(tmp_path, pack(ZEROS))
    assert caught.value.code == "source_too_large"


def test_a_bomb_is_not_unpacked_even_when_all_of_it_is_asked_for(tmp_path: Path) -> None:
    batch = land_bytes(tmp_path, gzip.compress(ZEROS), piece=1 << 20)
    with open_landed(batch, UnpackLimit(LIMIT)) as stream, pytest.raises(SourceTooLargeError):
        stream.read()


def test_a_small_archive_may_unpack_to_more_than_a_hundred_times_its_size(tmp_path: Path) -> None:
    assert len(read_landed(tmp_path, gzip.compress(ZEROS[:-1]))) == RATIO_FLOOR_BYTES


def test_a_large_archive_may_unpack_to_a_hundred_times_its_size(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(200_000)
    content = noise + b"\0" * (RATIO_FLOOR_BYTES * 3 // 2)
    assert read_landed(tmp_path, gzip.compress(content)) == content


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, zstandard.compress, lambda text: make_zip(("a.csv", text))],
    ids=["gzip", "zstd", "zip"],
)
def test_an_archive_that_unpacks_to_more_than_the_limit_is_too_large(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    noise = random.Random(1).randbytes(2000)
    assert read_landed(tmp_path, pack(noise), limit=2000) == noise
    with pytest.raises(SourceTooLargeError):
        read_landed(tmp_path, pack(noise), limit=1999)


def change_byte(packed: bytes, place: int) -> bytes:
    """The bytes, one of them changed."""
    return packed[:place] + bytes([packed[place] ^ 0x55]) + packed[place + 1 :]


NOISE = random.Random(2).randbytes(3000)
DAMAGED = {
    "a gzip cut off": gzip.compress(NOISE)[:-100],
    "a gzip of its header only": gzip.compress(NOISE)[:10],
    "a gzip of half a header": gzip.compress(NOISE)[:5],
    "a gzip with a changed byte": change_byte(gzip.compress(TEXT), 40),
    "a gzip with a wrong checksum": change_byte(gzip.compress(TEXT), -8),
    "a gzip with junk behind it": gzip.compress(TEXT) + b"junk",
    "a zstd cut off": zstandard.compress(NOISE)[:-100],
    "a zstd cut off at its end": zstandard.compress(TEXT)[:-1],
    "a zstd of its magic only": b"\x28\xb5\x2f\xfd",
    "a zstd with a changed byte": change_byte(zstandard.compress(NOISE), 8),
    "a zstd with junk behind it": zstandard.compress(TEXT) + b"junk",
    "a zip cut off": make_zip(("a.csv", NOISE))[:-100],
    "a zip of its magic only": b"PK\x03\x04",
    "a zip with a changed byte": change_byte(make_zip(("a.csv", TEXT)), 60),
    "a zip with a wrong checksum": change_byte(make_zip(("a.csv", NOISE), method=zipfile.ZIP_STORED), 200),
    "a bzip2 zip with a changed byte": change_byte(make_zip(("a.csv", NOISE), method=zipfile.ZIP_BZIP2), 100),
    "an lzma zip with a changed byte": change_byte(make_zip(("a.csv", TEXT), method=zipfile.ZIP_LZMA), 60),
    "an unknown method": make_zip(("a.csv", TEXT), method=zipfile.ZIP_STORED).replace(
        b"\x14\0\0\0\0\0", b"\x14\0\0\0\x63\0"
    ),
}


@pytest.mark.parametrize("packed", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_archive_is_a_source_that_cannot_be_read(tmp_path: Path, packed: bytes) -> None:
    with pytest.raises(SourceError, match="archive is damaged"):
        read_landed(tmp_path, packed)


ARCHIVES = [
    gzip.compress(TEXT),
    zstandard.compress(TEXT),
    *(
        make_zip(("in/", b""), ("in/a.csv", TEXT), method=method)
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ),
]


@settings(max_examples=examples(400), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    packed=st.sampled_from(ARCHIVES),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=3),
    cut_off=st.integers(0, 60),
)
def test_however_an_archive_is_damaged_the_load_fails_in_an_orderly_way(
    tmp_path: Path, packed: bytes, changes: list[tuple[int, int]], cut_off: int
) -> None:
    damaged = bytearray(packed)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    file = tmp_path / "batch"
    file.write_bytes(damaged[: len(damaged) - cut_off] if cut_off < 30 else damaged)
    try:
        with open_landed(LandedPart("x", "x", file, file.stat().st_size), UnpackLimit(LIMIT)) as stream:
            content = stream.read(LIMIT)
    except SourceError:
        return
    assert len(content) <= LIMIT


def test_what_goes_wrong_while_reading_is_not_taken_for_a_damaged_archive(tmp_path: Path) -> None:
    batch = land_bytes(tmp_path, gzip.compress(TEXT))
    with pytest.raises(ValueError, match="mine"), open_landed(batch, UnpackLimit(LIMIT)):
        raise ValueError("mine")
