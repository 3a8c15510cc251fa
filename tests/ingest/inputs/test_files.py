"""Files below a local server's folder: what is read, and what never is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from catalog.inputs.permits import Permits
from catalog.model.dataset import Input
from ingest.errors import PathOutsideRootError, SourceError, SourceMissingError
from ingest.inputs import find_position
from ingest.inputs.file_choice import GONE_NAMES_KEPT, choose_files
from ingest.inputs.files import CHUNK_BYTES, open_file_batch
from ingest.inputs.raw_batch import InputContext
from runtime.settings.settings import load_settings


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


def source(root: Path | str, path: str | None, mode: str = "snapshot") -> InputContext:
    """An input of files and nothing else: it looks at no database."""
    chosen = Input(kind="file", mode=mode, root=str(root), path=path)
    permits = Permits(load_settings(input_roots={"*": ("/",)}), "files")
    return SimpleNamespace(source=chosen, state={}, permits=permits)  # type: ignore[return-value]


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
    with pytest.raises(SourceMissingError, match="No file matches") as caught:
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


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def names(place: InputContext) -> list[str]:
    with open_file_batch(place) as batch:
        found = [(part.name, b"".join(part.chunks)) for part in batch.parts]
    assert all(content.decode() == name for name, content in found)
    return [name for name, _ in found]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("*.csv", ["b-1.csv", "b-10.csv", "b-2.csv"]),
        ("b-?.csv", ["b-1.csv", "b-2.csv"]),
        ("b-[!1].csv", ["b-2.csv"]),
        ("*/*.csv", ["x/c.csv"]),
        ("**/*.csv", ["b-1.csv", "b-10.csv", "b-2.csv", "x/c.csv", "x/y/d.csv"]),
        ("x/**", ["x/c.csv", "x/y/d.csv"]),
        ("x/**/d.csv", ["x/y/d.csv"]),
        (".*.csv", [".hidden.csv"]),
    ],
)
def test_a_pattern_means_files_by_name_and_none_that_are_hidden(tmp_path: Path, path: str, found: list[str]) -> None:
    tree(tmp_path, "b-2.csv", "b-10.csv", "b-1.csv", "x/c.csv", "x/y/d.csv", ".hidden.csv", ".h/e.csv", "other.txt")
    assert names(source(tmp_path, path)) == found


def test_a_pattern_that_fits_nothing_is_missing_in_a_snapshot_and_no_new_data_else(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError):
        names(source(tmp_path, "*.csv"))
    with open_file_batch(source(tmp_path, "*.csv", "upsert")) as batch:
        assert (list(batch.parts), batch.may_be_empty, batch.more) == ([], True, False)


@pytest.mark.parametrize("path", ["../*.csv", "in/../../*.csv", "link-out*.csv", "folder-out/*.csv"])
def test_a_pattern_that_leads_out_of_the_root_is_refused(root: Path, path: str) -> None:
    (root / "link-out.csv").symlink_to(root.parent / "secret.csv")
    (root / "folder-out").symlink_to(root.parent / "root-2")
    with pytest.raises(PathOutsideRootError):
        names(source(root, path))


def test_a_pattern_that_fits_a_pipe_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "a.csv")
    os.mkfifo(tmp_path / "b.csv")
    with pytest.raises(SourceError, match="is not a file"):
        names(source(tmp_path, "*.csv"))


def test_each_new_or_changed_file_is_known_by_its_place_in_the_input_afterwards(tmp_path: Path) -> None:
    tree(tmp_path, "1.csv", "2.csv")
    place = source(tmp_path, "*.csv", "append")
    seen = []
    for change in ("", "", "", "1.csv", "", "0.csv", ""):
        if change:
            tree(tmp_path, change)
            os.utime(tmp_path / change, ns=(0, len(seen)))
        new_data = find_position(place)
        with open_file_batch(place) as batch:
            seen.append([part.name for part in batch.parts])
            place.state = batch.position()  # type: ignore[misc, assignment]
        assert (new_data is not None) == bool(seen[-1])
    assert seen == [["1.csv"], ["2.csv"], [], ["1.csv"], [], ["0.csv"], []]


def test_a_file_that_comes_back_is_not_new_and_very_many_that_are_gone_are_forgotten() -> None:
    chosen = Input(kind="file", mode="append", root=".", path="*.csv")
    known = {"files": {f"{number:06}.csv": [1, 1] for number in range(GONE_NAMES_KEPT + 5)}}
    choice = choose_files(chosen, {"new.csv": [1, 1], "000000.csv": [1, 1]}, known)
    assert choice.names == ("new.csv",)
    assert len(choice.position["files"]) == GONE_NAMES_KEPT + 2
    assert "000000.csv" in choice.position["files"]
    assert "000001.csv" not in choice.position["files"]


def test_a_watched_file_that_has_just_been_written_to_waits(tmp_path: Path) -> None:
    tree(tmp_path, "1.csv", "2.csv")
    os.utime(tmp_path / "1.csv", ns=(0, 0))
    place = source(tmp_path, "*.csv", "append")
    place.source = replace(place.source, watch=True)  # type: ignore[misc]
    assert list((find_position(place) or {})["files"]) == ["1.csv"]
    assert names(place) == ["1.csv"]


def test_a_file_that_changes_while_it_is_read_fails(tmp_path: Path) -> None:
    tree(tmp_path, "1.csv")
    with open_file_batch(source(tmp_path, "1.csv")) as batch:
        (part,) = batch.parts
        (tmp_path / "1.csv").write_bytes(b"longer than before")
        with pytest.raises(SourceError, match="changed while it was read"):
            list(part.chunks)


ODD_NAMES = ("line\nbreak.csv", "-rf.csv", "\x1b[31mred.csv", "tab\there.csv", "ü" * 120 + ".csv", "a 'b' \"c\".csv")


def make_odd_files(folder: Path) -> None:
    """Good files, and beside them what is none."""
    tree(folder, "1.csv", "9.csv", *ODD_NAMES)
    (folder / "2-gone.csv").symlink_to("nowhere")
    (folder / "3-loop.csv").symlink_to("3-loop.csv")
    (folder / "4-out.csv").symlink_to("/etc/passwd")
    (folder / "5-null.csv").symlink_to("/dev/null")
    os.mkfifo(folder / "6-pipe.csv")
    (folder / "7-folder.csv").mkdir()
    (folder / os.fsdecode(b"8-\xff.csv")).write_bytes(b"x")


def test_what_is_no_file_holds_up_no_other_of_a_pattern_and_is_named(tmp_path: Path) -> None:
    make_odd_files(tmp_path)
    place = source(tmp_path, "*.csv", "upsert")
    seen: list[str] = []
    for _ in range(20):
        if find_position(place) is None:
            break
        with open_file_batch(place) as batch:
            for part in batch.parts:
                assert b"".join(part.chunks).decode() == part.name
                seen.append(part.name)
            notes = " ".join(batch.notes())
            place.state = batch.position()  # type: ignore[misc, assignment]
    assert seen == sorted(["1.csv", "9.csv", *ODD_NAMES])
    for fault in (
        "2-gone.csv is a broken link",
        "3-loop.csv",
        "4-out.csv",
        "5-null.csv",
        "6-pipe.csv is not a file",
    ):
        assert fault in notes
    assert "'8-\\udcff.csv' is not UTF-8" in notes
    assert "7-folder" not in notes


@pytest.mark.parametrize(
    ("path", "words"), [("2*.csv", "2-gone.csv is a broken link"), ("6*", "is not a file"), ("8*", "is not UTF-8")]
)
def test_a_snapshot_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path, path: str, words: str) -> None:
    make_odd_files(tmp_path)
    with pytest.raises(SourceError, match=words):
        names(source(tmp_path, path))
