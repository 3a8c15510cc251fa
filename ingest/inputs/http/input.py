"""HTTP APIs: all pages of an answer as one raw batch, each page as it came.

Nothing is asked above the contract's own address; where the next page lies, and where a redirect leads, is judged
before it is followed. A batch is whole or it is none: whatever goes wrong on any page fails the load, and the input
stays where it stood.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

import httpx

from catalog.inputs.file_format import is_readable
from catalog.model.dataset import FileFormat, Input
from catalog.model.sources import HttpSource
from ingest.errors import IngestError, SourceError
from ingest.http_client.client import HEADER_TEXT, Answer, ApiClient, ApiRequest
from ingest.http_client.links import find_link
from ingest.inputs.http.addresses import add_params, find_address, find_location
from ingest.inputs.http.page import PAGE_LIMIT_BYTES, PageInspector, PageSummary
from ingest.inputs.http.page_sink import PageRecordWriter, open_page_record_writer
from ingest.inputs.incremental import Watermark, find_watermark
from ingest.inputs.raw_batch import InputContext, RawBatch, RawPart
from ingest.inputs.variables import VariableExpander
from ingest.landing.unpacking import UnpackLimit
from ingest.ledger.landed_note import Position

COPY_BYTES = 1 << 20
COLUMNS_SHOWN = 500
WIDE = ("utf-16", "utf-32")
ACCEPTED = {
    "json": "application/json, application/geo+json, */*;q=0.5",
    "ndjson": "application/x-ndjson, */*;q=0.5",
    "csv": "text/csv, */*;q=0.5",
}


@contextmanager
def open_http_batch(context: InputContext) -> Iterator[RawBatch]:
    """The API's answer, page by page; no part where it says that nothing has changed."""
    source = source_of(context.source)
    expander = VariableExpander(context.permits)
    with hide_secrets(expander), ExitStack() as stack:
        folder = stack.enter_context(context.open_folder())
        location = find_location(source, expander)
        watermark = find_watermark(context)
        client = stack.enter_context(closing(ApiClient(source, location, folder)))
        record_writer = stack.enter_context(open_page_record_writer(context, folder))
        fetcher = PageFetcher(context, expander, client, watermark, record_writer, folder)
        first, facts = fetcher.fetch(fetcher.ask(fetcher.first_extra(), context.state), 1)
        if first.status == 304:
            first.body.close()
            state = dict(context.state)
            yield RawBatch(source.address, iter(()), position=lambda: state, may_be_empty=True)
            return
        single = source.pagination is None
        yield RawBatch(
            source=source.address,
            parts=fetcher.read(first, facts),
            size=first.size if single else None,
            position=fetcher.position,
            may_be_empty=watermark is not None and not watermark.is_start,
            notes=record_writer.describe_nulls,
        )


class PageFetcher:
    """One walk over an API's pages."""

    def __init__(
        self,
        context: InputContext,
        expander: VariableExpander,
        client: ApiClient,
        watermark: Watermark | None,
        record_writer: PageRecordWriter,
        folder: Path,
    ) -> None:
        self.source = source = source_of(context.source)
        self.file_format = context.source.file_format
        self.expander = expander
        self.client = client
        self.watermark = watermark
        self.record_writer = record_writer
        self.left = context.settings.source_limit_bytes
        self.looking = PageInspector(source.pagination, folder, UnpackLimit.of(context.settings))
        self.asked = self.digest_request(context)
        self.validators: dict[str, str] = {}
        self.columns: tuple[str, ...] | None = None  # of the first page of CSV
        self.pages = 0
        self.offset = source.pagination.start if source.pagination else 0
        self.been: set[str] = set()  # what led to a page
        self.seen: set[bytes] = set()  # digests of pages

    def position(self) -> Position | None:
        """The input's position after this batch: the highest mark before it, and what an unchanged answer is."""
        found = self.watermark.position(self.record_writer.watermarks()) if self.watermark else {}
        # Of several pages, the first one may be the same while others are not.
        if self.validators and self.pages == 1:
            found = found | {"asked": self.asked, **self.validators}
        return found or None

    def read(self, first: Answer, facts: PageSummary) -> Iterator[RawPart]:
        """All pages, one after the other."""
        page: Answer | None = first
        while page is not None:
            self.pages += 1
            with hide_secrets(self.expander), closing(page.body) as body:
                self.left -= page.size
                self.note_page(page, facts)
                if facts.records != 0 or self.pages == 1:
                    yield RawPart(f"page {self.pages}", read_pieces(body), page.size, self.find_file_format(page))
                following = self.find_next(page, facts)
            if following is None:
                return
            with hide_secrets(self.expander):
                page, facts = self.fetch(following, self.pages + 1)

    def fetch(self, request: ApiRequest, number: int) -> tuple[Answer, PageSummary]:
        """One page, and its content."""
        pagination = self.source.pagination
        if pagination and number > 1:
            request = replace(request, name=f"{request.name}, page {number},")
        limit = min(self.left, PAGE_LIMIT_BYTES) if pagination else self.left

        def look(answer: Answer) -> PageSummary:
            file_format = self.find_file_format(answer) or self.file_format
            return self.looking.inspect_page(request.name, number, answer, file_format, self.record_writer)

        return self.client.fetch(request, limit, look)

    def note_page(self, page: Answer, facts: PageSummary) -> None:
        """Remembers the page; SourceError where it came before: then the API does not move on."""
        if self.pages == 1:
            names = {"etag": "etag", "last-modified": "lastModified"}
            self.validators = {key: page.headers[name] for name, key in names.items() if name in page.headers}
            self.columns = facts.columns
        elif set(facts.columns or ()) != set(self.columns or ()) and None not in {facts.columns, self.columns}:
            raise SourceError(
                f"Page {self.pages} of {self.source.address} has different columns from the first page:"
                f" {', '.join(facts.columns or ())[:COLUMNS_SHOWN]}."
            )
        if self.source.pagination is None or facts.records == 0:
            return
        digest = hashlib.file_digest(page.body, "sha256").digest()  # type: ignore[arg-type]
        page.body.seek(0)
        if digest in self.seen:
            raise SourceError(
                f"Page {self.pages} of {self.source.address} is identical to an earlier page: pagination is"
                f" in a loop."
            )
        self.seen.add(digest)

    def find_next(self, page: Answer, facts: PageSummary) -> ApiRequest | None:
        """What to ask for behind a page; None behind the last one."""
        pagination = self.source.pagination
        if pagination is None:
            return None
        if pagination.type == "link":
            target = facts.following if pagination.path else find_link(page.headers, "next", page.url)
        elif pagination.type == "cursor":
            target = facts.following
        else:
            short = pagination.until_short and facts.records < (pagination.size or 0)
            self.offset += facts.records if pagination.type == "offset" else 1
            target = None if facts.records == 0 or short else str(self.offset)
        if target is None:
            return None
        if target in self.been:
            raise SourceError(f"Page {self.pages} of {self.source.address} leads back to an earlier page.")
        if self.pages >= pagination.max_pages:
            raise SourceError(
                f"{self.source.address} has more than {pagination.max_pages:,} pages (pagination.maxPages)."
            )
        self.been.add(target)
        if pagination.type == "link":
            return self.follow_link(page.url, target)
        extra: dict[str, object] = {pagination.param: target if pagination.type == "cursor" else self.offset}
        return self.ask(self.size_extra() | extra)

    def follow_link(self, base: httpx.URL, target: str) -> ApiRequest:
        """The request for the page at an address; SourceError where that is not the contract's own server."""
        try:
            url = base.join(target)
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL("")
        if url.scheme not in {"http", "https"} or url.userinfo or not self.client.is_own(url):
            raise SourceError(
                f"Page {self.pages} of {self.source.address} names a next page at {url.host!r}: pages are"
                f" only read from the contract's own server, with its encryption."
            )
        # Credentials among the parameters are not repeated by everybody.
        lacking = [(name, text) for name, text in self.source.params if "${" in text and name not in url.params]
        return replace(
            self.ask({}), url=add_params(url, [(name, self.expander.expand(text)) for name, text in lacking])
        )

    def first_extra(self) -> dict[str, object]:
        """What the first request says beside the contract's own parameters."""
        pagination = self.source.pagination
        extra = self.size_extra()
        if pagination and pagination.type in {"page", "offset"}:
            extra[pagination.param] = pagination.start
            self.been.add(str(pagination.start))
        return extra

    def size_extra(self) -> dict[str, object]:
        """How many records a page shall have, where that is said."""
        pagination = self.source.pagination
        return {pagination.size_param: pagination.size} if pagination and pagination.size_param else {}

    def ask(self, extra: Mapping[str, object], state: Position | None = None) -> ApiRequest:
        """The contract's request with some more parameters; with `state`, only for what has changed since."""
        source = self.source
        marked = {}
        if self.watermark and self.watermark.text is not None:
            marked = {self.watermark.incremental.target: self.watermark.text}
        in_body = bool(source.pagination and source.pagination.in_body)
        query = {**marked, **({} if in_body else extra)}
        params = [(name, self.expander.expand(text)) for name, text in source.params if name not in query]
        url = add_params(find_address(source, self.expander), [*params, *query.items()])
        headers = {
            "Accept": ACCEPTED.get(self.file_format.format, "*/*"),
            "Accept-Encoding": "gzip",
            "User-Agent": "decant",
        }
        body = None
        if source.method == "POST":
            content = json.loads(self.expander.expand(source.body or "{}", lambda value: json.dumps(value)[1:-1]))
            body = json.dumps(content | (extra if in_body else {}), ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json"
        for name, text in source.headers:
            filled = self.expander.expand(text)
            if not HEADER_TEXT.fullmatch(filled):
                raise SourceError(f"The header {name} contains line breaks, or characters beyond Latin-1.")
            headers = {known: value for known, value in headers.items() if known.lower() != name.lower()}
            headers[name] = filled
        if state and state.get("asked") == self.asked:
            if state.get("etag"):
                headers["If-None-Match"] = state["etag"]
            if state.get("lastModified"):
                headers["If-Modified-Since"] = state["lastModified"]
        return ApiRequest(f"{source.method} {source.address}", source.method, url, headers, body)

    def digest_request(self, context: InputContext) -> str:
        """What is asked, and what will be made of it: only where both are the same may an answer be left out.

        Variables are in it as the contract writes them, so no secret is.
        """
        facts = [
            asdict(self.source),
            asdict(self.file_format),
            self.watermark and self.watermark.text,
            context.cleaning_sha256,
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def find_file_format(self, page: Answer) -> FileFormat | None:
        """How the page is parsed, where its own words about its encoding count; SourceError where it is unknown."""
        charset = httpx.Response(200, headers=page.headers).charset_encoding
        if charset is None or self.source.own_encoding or self.file_format.format not in {"csv", "ndjson", "json"}:
            return None
        if self.file_format.format == "json" and not charset.lower().startswith(WIDE):
            return None  # JSON is UTF-8, whatever else a server says of it
        if not is_readable(charset, lines=self.file_format.format == "csv"):
            raise SourceError(f"{self.source.address} has the encoding {charset[:40]!r}, which is not supported.")
        name = codecs.lookup(charset).name
        return None if name in {"ascii", self.file_format.encoding} else replace(self.file_format, encoding=name)


@contextmanager
def hide_secrets(expander: VariableExpander) -> Iterator[None]:
    """Takes what variables were filled with out of errors: servers may repeat what they were sent."""
    try:
        yield
    except IngestError as error:
        error.args = (expander.hide(str(error)),)
        raise


def source_of(source: Input) -> HttpSource:
    """The input's API; SourceError where it has none."""
    if not isinstance(source.source, HttpSource):
        raise SourceError("The input is not an API.")
    return source.source


def read_pieces(body: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file in pieces."""
    while piece := body.read(COPY_BYTES):
        yield piece
