"""Sends one export to its caller: streamed, or from a cached file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Send

from api.datasets.kind import Asked, send_answer
from api.datasets.reader import gone
from api.datasets.whole_answer import http_date, revision_headers
from api.exports.formats.export_format import FiledFormat, StreamedFormat, Writer
from api.exports.kept_files import ExportFiles, KeptFile
from api.exports.query import ExportQuery
from api.exports.resources import ExportResources
from api.exports.snapshot import Opened
from api.exports.stream_coding import make_coder
from api.http.byte_ranges import keep_ranges
from api.http.conditional import is_unmodified, matches
from api.http.header_fields import Fields
from api.http.open_answer import wait_until_gone
from api.http.problems import Problem
from catalog.model.dataset import Property
from catalog.storage.export_files import delete_exports
from runtime.errors import DatabaseUnavailableError, QueryTimeoutError

NAMING = 3  # of the headers of an export: its tag, its revision and that one's epoch
ATTEMPTS = 2  # to send a file: an erasure removes half-made ones of revisions that stay, too


class Sending:
    """One export that is about to leave."""

    def __init__(self, asked: Asked, media_type: StreamedFormat | FiledFormat, resources: ExportResources) -> None:
        self.asked = asked
        self.media_type = media_type
        self.resources = resources
        self.view = asked.view
        self.pin = asked.pin
        self.query: ExportQuery = asked.question.query
        self.settings = asked.context.settings

    @property
    def properties(self) -> Sequence[Property]:
        """The properties that are exported, in order."""
        return [self.view.shown[name] for name in self.query.properties or self.view.properties]

    async def send(self, receive: Receive, send: Send) -> None:
        """Sends the answer."""
        asked = self.asked
        tag = asked.tag(self.pin.revisions)
        named = self.headers(tag)
        asked.timings.record("cache")
        if asked.if_none_match is not None and matches(asked.if_none_match, tag):
            await self.send_unchanged(send, named)
            return
        if isinstance(self.media_type, FiledFormat):
            await self.send_file(self.media_type, tag, named, receive, send)
            return
        modified = self.published()
        if is_unmodified(asked.headers, modified):
            await self.send_unchanged(send, named, modified)
            return
        named += modified
        if asked.coding != "identity":
            named.append((b"content-encoding", asked.coding.encode()))
        if asked.scope["method"] == "HEAD":
            await send_answer(asked, send, 200, [*named, *asked.common])
        else:
            await self.send_stream(self.media_type, [*named, *asked.common], receive, send)

    async def send_unchanged(self, send: Send, named: Fields, modified: Fields | None = None) -> None:
        """Says that the caller has the export already."""
        await send_answer(self.asked, send, 304, [*named[:NAMING], *(modified or []), *self.asked.common])

    def headers(self, tag: str) -> Fields:
        """The headers that name the export."""
        dataset = self.view.dataset
        file = f"{dataset.product}-v{dataset.major}-{dataset.name}-r{self.pin.revision}.{self.media_type.name}"
        return [
            (b"etag", tag.encode()),
            *revision_headers(self.pin.epoch, self.pin.revision),
            (b"content-type", self.media_type.content_type.encode()),
            (b"content-disposition", f'attachment; filename="{file}"'.encode()),
        ]

    def published(self) -> Fields:
        """Last-Modified of what is streamed; none of an older revision, whose time only the ledger knows."""
        head = self.pin.heads[0]
        if head.published_at is None or head.revision != self.pin.revision:
            return []
        return [(b"last-modified", http_date(int(head.published_at.timestamp())))]

    async def send_stream(self, media_type: StreamedFormat, fields: Fields, receive: Receive, send: Send) -> None:
        """Sends batch after batch, as long as the caller is there."""
        gone = asyncio.ensure_future(wait_until_gone(receive))
        try:
            async with self.resources.source.open(self.view, self.query, self.pin, self.media_type, gone) as opened:
                # One who stops reading must not keep others from theirs for longer.
                async with asyncio.timeout(self.settings.export_timeout_seconds):
                    await self.send_batches(media_type, opened, fields, gone, send)
        except TimeoutError:
            raise QueryTimeoutError from None
        finally:
            gone.cancel()

    async def send_batches(
        self, media_type: StreamedFormat, opened: Opened, fields: Fields, gone: asyncio.Future[None], send: Send
    ) -> None:
        """Sends the batches. What fails once it has begun is cut off, so that nobody takes it for whole."""
        writer = media_type.make_writer(self.properties, opened.schema)
        encode, finish = make_coder(self.asked.coding)
        following = asyncio.ensure_future(asyncio.to_thread(opened.next_batch))
        try:
            # The first batch comes before the status: what is wrong with the statement is still a problem.
            await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            batch = following.result()
            self.asked.timings.record("database")
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
                # A waiting thread cannot be cancelled, but what it waits for can.
                opened.cancel()
                await asyncio.wait({following})
            if not following.cancelled():
                following.exception()

    async def send_file(self, media_type: FiledFormat, tag: str, named: Fields, receive: Receive, send: Send) -> None:
        """Sends a file, or the ranges of it that were asked for."""
        path = self.resources.files.path_of(self.view.dataset, tag, self.media_type)
        kept = await self.find_unless_gone(media_type, path, receive)
        if kept is None:
            return
        self.asked.timings.record("file")
        modified = (b"last-modified", formatdate(kept.made_at, usegmt=True).encode())
        # Of one revision only: a file of the next may be older than one that was made again.
        if self.pin.fixed and is_unmodified(self.asked.headers, [modified]):
            await self.send_unchanged(send, named, [modified])
            return
        fields = [*named, modified, (b"repr-digest", kept.digest.encode()), *self.asked.common]
        response = FileResponse(path, media_type=self.media_type.content_type, stat_result=kept.facts)
        replaced = {name for name, _ in fields}
        # In place: the response reads there what If-Range is held against, and adds what ranges need.
        response.raw_headers[:] = [pair for pair in response.raw_headers if pair[0] not in replaced] + fields

        async def refuse_or_send(message: Message) -> None:
            # What is wrong with a range is found by the response itself, and reported as plain text.
            status = message.get("status")
            if status == 416:
                raise Problem("range_not_satisfiable", headers={"Content-Range": f"bytes */{kept.facts.st_size}"})
            if status == 400:
                raise Problem("bad_request", "The Range header is malformed.")
            await send(message)

        scope = keep_ranges(self.asked.scope, self.asked.headers, kept.facts.st_size)
        await response(scope, receive, refuse_or_send)

    async def find_unless_gone(self, media_type: FiledFormat, path: Path, receive: Receive) -> KeptFile | None:
        """What is said of the file; None where the caller hung up before it was built, which ends the building."""
        finding = asyncio.ensure_future(self.find_file(media_type, path))
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

    async def find_file(self, media_type: FiledFormat, path: Path) -> KeptFile:
        """What is said of the file, which is there; one that was removed while it was made is made again."""
        files: ExportFiles = self.resources.files
        for _ in range(ATTEMPTS):
            with suppress(FileNotFoundError):
                built = await files.find_or_build(path, partial(self.build, media_type))
                kept = files.metadata_of(path)
                if built:
                    await self.check_kept(files)
                return kept
            await self.check_kept(files)
        raise DatabaseUnavailableError("The file was removed before it could be sent.")

    async def check_kept(self, files: ExportFiles) -> None:
        """Nothing comes back where the revision can still be read; otherwise none of its files stays."""
        heads = self.asked.resources.reader.heads
        await heads.refresh()
        head = await heads.of(self.view.dataset)
        if self.pin.revision < head.oldest_revision:
            # Something was erased, or pruned, while the file was built.
            await asyncio.to_thread(
                delete_exports, self.settings, self.view.dataset, before=(heads.epoch, head.oldest_revision)
            )
            raise gone(head)

    async def build(self, media_type: FiledFormat, path: Path) -> None:
        """Writes the export into a file."""
        async with self.resources.source.open(self.view, self.query, self.pin, self.media_type) as opened:
            writing = asyncio.ensure_future(asyncio.to_thread(media_type.write_file, path, opened, self.properties))
            try:
                await asyncio.shield(writing)
            finally:
                if not writing.done():
                    # A waiting thread cannot be cancelled, but what it waits for can.
                    opened.cancel()
                    await asyncio.wait({writing})
                    writing.exception()


def write_piece(writer: Writer, encode: Callable[[Any], Any], batch: object) -> bytes:
    """The bytes of a batch, in their coding."""
    return bytes(encode(writer.write(batch)))


async def send_piece(send: Send, piece: bytes) -> None:
    """Sends a part of a body that goes on."""
    if piece:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
