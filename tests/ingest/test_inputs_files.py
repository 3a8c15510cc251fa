"""Files below a local server's folder: what is read, and what never is."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from catalog.dataset import Input
from ingest.errors import PathOutsideRootError, SourceError, SourceMissingError
from ingest.inputs.batch import InputPlace
from ingest.inputs.files import CHUNK_BYTES, open_file_batch


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A server's folder, beside it what must not be read."""
    folder = tmp_path / "root"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.csv").write_bytes(b"inside")
    (tmp_path / "secret.csv").write_bytes(b"outside")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "b.csv").write_bytes(b"outside")
    return folder


def source(root: Path | str, path: str | None, mode: str = "snapshot") -> InputPlace:
    """An input of files and nothing else: it looks at no database."""
    chosen = Input(kind="file", mode=mode, root=str(root), path=path)
    return SimpleNamespace(source=chosen, state={}, request={})  # type: ignore[return-value]


def read(root: Path | str, path: str | None) -> bytes:
    with open_file_batch(source(root, path)) as batch:
        return b"".join(chunk for part in batch.parts for chunk in part.chunks)


@pytest.mark.parametrize("path", ["in/a.csv", "./in/a.csv", "in/../in/a.csv", "/in/a.csv", "in//a.csv"])
def test_a_file_below_the_root_is_read(root: Path, path: str) -> None:
    assert read(root, path) == b"inside"


def test_a_batch_says_where_it_came_from_and_how_large_it_is(root: Path) -> None:
    with open_file_batch(source(root, "in/a.csv")) as batch:
        assert (batch.source, batch.size) == ("in/a.csv", 6)
        assert list(batch.position()["files"]) == ["in/a.csv"]


def test_a_large_file_comes_in_pieces(root: Path) -> None:
    (root / "large.csv").write_bytes(b"x" * (2 * CHUNK_BYTES + 1))
    with open_file_batch(source(root, "large.csv")) as batch:
        assert [len(chunk) for part in batch.parts for chunk in part.chunks] == [CHUNK_BYTES, CHUNK_BYTES, 1]


def test_an_empty_file_is_a_batch_of_no_bytes(root: Path) -> None:
    (root / "empty.csv").touch()
    assert read(root, "empty.csv") == b""


@pytest.mark.parametrize(
    "path",
    ["../secret.csv", "in/../../secret.csv", "/../secret.csv", "../root-2/b.csv", "..", "in/../../../etc/passwd"],
)
def test_a_path_outside_the_root_is_refused(root: Path, path: str) -> None:
    with pytest.raises(PathOutsideRootError) as caught:
        read(root, path)
    assert caught.value.code == "path_outside_root"
    assert path in str(caught.value)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_that_leads_out_of_the_root_is_refused(root: Path, absolute: bool) -> None:
    (root / "link.csv").symlink_to(root.parent / "secret.csv" if absolute else "../secret.csv")
    with pytest.raises(PathOutsideRootError):
        read(root, "link.csv")


def test_a_folder_that_is_a_link_out_of_the_root_is_refused(root: Path) -> None:
    (root / "other").symlink_to(root.parent / "root-2")
    with pytest.raises(PathOutsideRootError):
        read(root, "other/b.csv")


def test_a_link_within_the_root_and_a_root_that_is_a_link_are_followed(root: Path) -> None:
    (root / "link.csv").symlink_to("in/a.csv")
    (root.parent / "alias").symlink_to(root)
    assert read(root, "link.csv") == read(root.parent / "alias", "in/a.csv") == b"inside"


@pytest.mark.parametrize("path", ["nothing.csv", "in/nothing.csv", "nowhere/a.csv", "/etc/passwd"])
def test_a_file_that_is_not_there_is_missing(root: Path, path: str) -> None:
    with pytest.raises(SourceMissingError, match="There is no file") as caught:
        read(root, path)
    assert caught.value.code == "source_missing"


def test_a_root_that_is_not_there_is_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError):
        read(tmp_path / "nowhere", "a.csv")


@pytest.mark.parametrize(
    "path", ["in", ".", "", "in/a.csv/b.csv", "x" * 300, "in/\0.csv", "\ud800.csv"], ids=lambda path: repr(path)[:20]
)
def test_what_is_no_file_is_a_source_that_cannot_be_read(root: Path, path: str) -> None:
    with pytest.raises(SourceError):
        read(root, path)


def test_a_link_to_itself_is_a_source_that_cannot_be_read(root: Path) -> None:
    (root / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(SourceError):
        read(root, "loop.csv")


def test_a_pipe_is_no_file_and_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe.csv")
    # Something must be able to open it for the test to end where it is not refused.
    keeper = os.open(root / "pipe.csv", os.O_RDWR | os.O_NONBLOCK)
    os.write(keeper, b"x")
    try:
        with pytest.raises(SourceError), open_file_batch(source(root, "pipe.csv")):
            pass
    finally:
        os.close(keeper)
