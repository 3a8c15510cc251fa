"""One export on its way to its caller: as a stream, or as a file that is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from api.database.published_heads import Heads
from api.datasets.endpoint import http_date, revision_headers
from api.datasets.reader import gone
from api.exports.formats import FILED
from api.exports.kept_files import ExportFiles, KeptFile, write_file
from api.exports.query import ExportQuery
from api.exports.resources import ExportResources
from api.exports.snapshot import Opened
from api.exports.writers import Writer, make_coder, make_writer
from api.http.byte_ranges import keep_ranges
from api.http.conditional import is_unmodified, make_tag, matches
from api.http.negotiation import Form, choose_coding
from api.http.problems import Problem
from api.http.server_timing import Timings
from api.query.question import Pin, Question
from api.query.view import View
from catalog.model.dataset import Property
from catalog.storage.export_files import forget_exports
from runtime.errors import DatabaseUnavailableError, QueryTimeoutError
from runtime.settings import Settings

NAMING = 3  # of the headers of an export: its tag, its revision and that one's epoch
ATTEMPTS = 2  # to send a file: an erasure removes half-made ones of revisions that stay, too
NAME = "export"
Fields = list[tuple[bytes, bytes]]


class Export:
    """One export that is about to leave."""

    def __init__(
        self,
        settings: Settings,
        resources: ExportResources,
        heads: Heads,
        view: View,
        question: Question,
        form: Form,
        pin: Pin,
        common: Fields,
        timings: Timings,
    ) -> None:
        self.settings = settings
        self.resources = resources
        self.heads = heads
        self.view = view
        self.query: ExportQuery = question.query
        self.canonical = question.canonical
        self.form = form
        self.pin = pin
        self.common = common
        self.timings = timings

    @property
    def properties(self) -> Sequence[Property]:
        """The properties that are exported, in order."""
        return [self.view.shown[name] for name in self.query.properties or self.view.properties]

    async def send(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Sends the answer."""
        coding = "identity" if self.form in FILED else choose_coding(headers.get("accept-encoding", ""))
        facts = (self.view.identity, NAME.encode(), self.canonical, self.form.name.encode(), coding.encode())
        tag = make_tag(self.pin.epoch, self.pin.revisions, *facts)
        named = self.headers(tag)
        if_none_match = headers.get("if-none-match")
        self.timings.mark("cache")
        if if_none_match is not None and matches(if_none_match, tag):
            await send_empty(send, 304, [*named[:NAMING], *self.common])
            return
        if self.form in FILED:
            await self.send_file(tag, named, headers, scope, receive, send)
            return
        modified = self.published()
        if is_unmodified(headers, modified):
            await send_empty(send, 304, [*named[:NAMING], *modified, *self.common])
            return
        named += modified
        if coding != "identity":
            named.append((b"content-encoding", coding.encode()))
        if scope["method"] == "HEAD":
            await send_empty(send, 200, [*named, *self.common])
        else:
            await self.send_stream([*named, *self.common], coding, receive, send)

    def headers(self, tag: str) -> Fields:
        """The headers that name the export."""
        dataset = self.view.dataset
        file = f"{dataset.product}-v{dataset.major}-{dataset.name}-r{self.pin.revision}.{self.form.name}"
        return [
            (b"etag", tag.encode()),
            *revision_headers(self.pin.epoch, self.pin.revision),
            (b"content-type", self.form.media_type.encode()),
            (b"content-disposition", f'attachment; filename="{file}"'.encode()),
        ]

    def published(self) -> Fields:
        """Last-Modified of what is streamed; none of an older revision, whose time only the ledger knows."""
        head = self.pin.heads[0]
        if head.published_at is None or head.revision != self.pin.revision:
            return []
        return [(b"last-modified", http_date(int(head.published_at.timestamp())))]

    async def send_stream(self, fields: Fields, coding: str, receive: Receive, send: Send) -> None:
        """Sends batch after batch, as long as the caller is there."""
        gone = asyncio.ensure_future(wait_until_gone(receive))
        try:
            async with self.resources.source.open(self.view, self.query, self.pin, self.form, gone) as opened:
                # One who stops reading must not keep others from theirs for longer.
                async with asyncio.timeout(self.settings.export_timeout_seconds):
                    await self.send_batches(opened, fields, coding, gone, send)
        except TimeoutError:
            raise QueryTimeoutError from None
        finally:
            gone.cancel()

    async def send_batches(
        self, opened: Opened, fields: Fields, coding: str, gone: asyncio.Future[None], send: Send
    ) -> None:
        """Sends the batches. What fails once it has begun is cut off, so that nobody takes it for whole."""
        writer = make_writer(self.form, self.properties, opened.schema)
        encode, finish = make_coder(coding)
        following = asyncio.ensure_future(asyncio.to_thread(opened.next_batch))
        try:
            # The first batch comes before the status: what is wrong with the statement is still a problem.
            await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            batch = following.result()
            self.timings.mark("database")
            await send({"type": "http.response.start", "status": 200, "headers": fields})
            await send_piece(send, bytes(encode(writer.begin())))
            while batch is not None:
                # Postgres makes the next batch while this one is written and sent.
                following = asyncio.ensure_future(asyncio.to_thread(opened.next_batch))
                piece = await asyncio.to_thread(write_piece, writer, encode, batch)
                await send_piece(send, piece)
                await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                batch = following.result()
            await send({"type": "http.response.body", "body": bytes(encode(writer.end())) + finish()})
        finally:
            if not following.done():
                # Whoever waits in a thread cannot be called off, but what it waits for can.
                opened.cancel()
                await asyncio.wait({following})
            if not following.cancelled():
                following.exception()

    async def send_file(
        self, tag: str, named: Fields, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Sends a file, or the ranges of it that were asked for."""
        path = self.resources.files.path_of(self.view.dataset, tag, self.form)
        kept = await self.find_unless_gone(path, receive)
        if kept is None:
            return
        self.timings.mark("file")
        modified = (b"last-modified", formatdate(kept.made_at, usegmt=True).encode())
        # Of one revision only: a file of the next may be older than one that was made again.
        if self.pin.fixed and is_unmodified(headers, [modified]):
            await send_empty(send, 304, [*named[:NAMING], modified, *self.common])
            return
        fields = [*named, modified, (b"repr-digest", kept.digest.encode()), *self.common]
        response = FileResponse(path, media_type=self.form.media_type, stat_result=kept.facts)
        replaced = {name for name, _ in fields}
        # In place: the response reads there what If-Range is held against, and adds what ranges need.
        response.raw_headers[:] = [pair for pair in response.raw_headers if pair[0] not in replaced] + fields

        async def refuse_or_send(message: Message) -> None:
            # What is wrong with a range is found by the response itself, and told as plain text.
            status = message.get("status")
            if status == 416:
                raise Problem("range_not_satisfiable", headers={"Content-Range": f"bytes */{kept.facts.st_size}"})
            if status == 400:
                raise Problem("bad_request", "The Range header cannot be read.")
            await send(message)

        await response(keep_ranges(scope, headers, kept.facts.st_size), receive, refuse_or_send)

    async def find_unless_gone(self, path: Path, receive: Receive) -> KeptFile | None:
        """What is said of the file; None where the caller hung up before it was built, which ends the building."""
        finding = asyncio.ensure_future(self.find_file(path))
        gone = asyncio.ensure_future(wait_until_gone(receive))
        try:
            await asyncio.wait({finding, gone}, return_when=asyncio.FIRST_COMPLETED)
            return await finding if finding.done() else None
        finally:
            for task in (finding, gone):
                task.cancel()
            await asyncio.wait({finding, gone})
            if not finding.cancelled():
                finding.exception()

    async def find_file(self, path: Path) -> KeptFile:
        """What is said of the file, which is there; one that was removed while it was made is made again."""
        files: ExportFiles = self.resources.files
        for _ in range(ATTEMPTS):
            with suppress(FileNotFoundError):
                built = await files.find_or_build(path, self.build)
                kept = files.facts_of(path)
                if built:
                    await self.check_kept(files)
                return kept
            await self.check_kept(files)
        raise DatabaseUnavailableError("The file was removed when it was to be sent.")

    async def check_kept(self, files: ExportFiles) -> None:
        """Nothing comes back where the revision can still be read; otherwise none of its files stays."""
        heads = self.heads
        await heads.refresh()
        head = await heads.of(self.view.dataset)
        if self.pin.revision < head.oldest_revision:
            # Something was erased, or pruned, while the file was built.
            forget_exports(files.folder, self.view.dataset, before=(heads.epoch, head.oldest_revision))
            raise gone(head)

    async def build(self, path: Any) -> None:
        """Writes the export into a file."""
        async with self.resources.source.open(self.view, self.query, self.pin, self.form) as opened:
            writing = asyncio.ensure_future(
                asyncio.to_thread(partial(write_file, path, self.form, opened, self.properties))
            )
            try:
                await asyncio.shield(writing)
            finally:
                if not writing.done():
                    # Whoever waits in a thread cannot be called off, but what it waits for can.
                    opened.cancel()
                    await asyncio.wait({writing})
                    writing.exception()


def write_piece(writer: Writer, encode: Any, batch: Any) -> bytes:
    """The bytes of a batch, in their coding."""
    return bytes(encode(writer.write(batch)))


async def wait_until_gone(receive: Receive) -> None:
    """Nothing comes back until the caller has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_piece(send: Send, piece: bytes) -> None:
    """Sends a part of a body that goes on."""
    if piece:
        await send({"type": "http.response.body", "body": piece, "more_body": True})


async def send_empty(send: Send, status: int, fields: Fields) -> None:
    """Sends an answer without a body."""
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b""})
