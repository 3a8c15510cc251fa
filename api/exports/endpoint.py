"""Exports over HTTP: a redirect to a fixed revision, a stream, or a file in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any, cast

from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from api.auth.permissions import find_dataset
from api.context import Context
from api.database.published_heads import Heads
from api.datasets.endpoint import PREFIX, VARY, http_date, revision_headers
from api.datasets.reader import gone
from api.datasets.resources import DatasetResources
from api.exports.formats import FILED, FORMS
from api.exports.kept_files import ExportFiles, KeptFile, write_file
from api.exports.query import ExportQuery, parse_export
from api.exports.resources import ExportResources
from api.exports.snapshot import Opened
from api.exports.writers import Writer, make_coder, make_writer
from api.http.addresses import address_of
from api.http.byte_ranges import keep_ranges
from api.http.conditional import is_unmodified, make_tag, matches, newest_seen
from api.http.negotiation import Form, choose_coding, choose_form
from api.http.problems import Problem
from api.http.request_headers import read_fields, read_least_revision
from api.http.server_timing import KEPT, Timings
from api.query.pagination import LINK_LIMIT_BYTES
from api.query.question import Pin, Question, Target
from api.query.view import View
from catalog.model.dataset import Property
from catalog.storage.export_files import forget_exports
from runtime.errors import DatabaseUnavailableError, QueryTimeoutError
from runtime.settings import Settings

NAME = "export"
NAMING = 3  # of the headers of an export: its tag, its revision and that one's epoch
ATTEMPTS = 2  # to send a file: an erasure removes half-made ones of revisions that stay, too
Fields = list[tuple[bytes, bytes]]


class ExportEndpoint:
    """Answers requests for exports."""

    name = NAME  # as it is counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; problems are raised as long as nothing has left."""
        state = scope["app"].state
        context: Context = state.context
        datasets: DatasetResources = state.datasets
        headers = read_fields(scope)
        timings: Timings = scope[KEPT]
        principal = await context.identify(scope, headers)
        timings.mark("auth")
        place = scope["path_params"]
        dataset, access = find_dataset(context.catalog, principal, place["product"], place["major"], place["dataset"])
        view = context.views.of(dataset, access)
        target = Target(scope["raw_path"].decode("ascii", "replace"), scope["query_string"])
        question = parse_export(view, target)
        form = question.query.form or choose_form(headers.get("accept", ""), FORMS)
        seen = (
            newest_seen(headers.get("if-none-match", ""), datasets.reader.heads.epoch) if question.at is None else ()
        )
        timings.mark("parse")
        pin = await datasets.reader.pin(view, question, max(read_least_revision(headers), *seen[:1], 0))
        common = [VARY, *datasets.headers.of(principal, dataset, pin)]
        location = pinned_address(context.settings, target, question, pin)
        is_short = len(location) <= min(LINK_LIMIT_BYTES, context.settings.url_limit_bytes)
        if question.query.is_whole and not pin.fixed and pin.revision and is_short:
            await send_empty(send, 307, [(b"location", location.encode()), *common])
        else:
            export = Export(
                context.settings, state.exports, datasets.reader.heads, view, question, form, pin, common, timings
            )
            await export.send(scope, headers, receive, send)


def pinned_address(settings: Settings, target: Target, question: Question, pin: Pin) -> str:
    """The address of the same export at its revision."""
    query = target.query_string.decode("ascii", "replace")
    named = f"at={pin.revision}" if question.epoch else f"at={pin.revision}&epoch={pin.epoch}"
    return address_of(settings, f"{target.path}?{query}{'&' if query else ''}{named}")


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


ROUTE = Route(f"{PREFIX}/export", cast(Any, ExportEndpoint()), methods=["GET", "HEAD"], name=NAME)
