"""One open stream: what it was told, what is to be told, and why it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import Message, Send

from api.auth.authenticator import Principal
from api.database.published_heads import DatasetKey, Head, Heads
from api.following.event_stream import QUIET, write_end, write_revision
from api.query.view import View
from runtime.settings.settings import Settings

QUIET_SECONDS = 15.0  # between two signs of life: proxies end connections that are silent for longer
LAST_WORDS_SECONDS = 1.0  # for a reader to take what says why its stream ends
NOTHING = b""


@dataclass(frozen=True)
class Caller:
    """Whose stream it is, and the credential that opened it."""

    name: str  # that limits count
    principal: Principal
    token: str | None = None  # of an access token; a key is judged by its id


class Follower:
    """One open stream. It holds no event: what it sends is made of the newest head when its reader can take it."""

    def __init__(self, settings: Settings, heads: Heads, caller: Caller, view: View, since: int) -> None:
        self.settings = settings
        self.heads = heads
        self.caller = caller
        self.view = view  # changes where the rights of its caller do
        self.sent_revision = since  # the last revision that the follower knows of
        self.epoch = heads.epoch
        self.confirmed = asyncio.get_running_loop().time()  # when its rights were judged last
        self.ending: str | None = None
        self.is_gone = False
        self.wake = asyncio.Event()
        self.patience = asyncio.timeout(None)

    @property
    def key(self) -> DatasetKey:
        """The dataset, as heads know it."""
        dataset = self.view.dataset
        return dataset.product, dataset.major, dataset.name

    def end(self, reason: str) -> None:
        """Ends the stream with an event that says why; a reader that does not take it is not waited for."""
        if self.ending is None and not self.is_gone:
            self.ending = reason
            self.wake.set()
            self.patience.reschedule(asyncio.get_running_loop().time() + LAST_WORDS_SECONDS)

    def leave(self) -> None:
        """Ends the stream without a word: its reader has hung up."""
        self.is_gone = True
        self.wake.set()

    async def run(self, send: Send, opening: Message, beginning: bytes) -> None:
        """Sends events until the stream ends; TimeoutError where the reader does not take the last one."""
        try:
            async with self.patience:
                await send(opening)
                await send_piece(send, beginning)
                await self.send_events(send)
        finally:
            self.is_gone = True

    async def send_events(self, send: Send) -> None:
        """Sends events until the stream ends."""
        while True:
            # Comes back when the reader has taken what was sent before: only then the newest is looked up.
            await send_piece(send, NOTHING)
            self.wake.clear()
            if self.is_gone:
                return
            piece = self.next_event()
            if self.ending is not None:
                await send_piece(send, write_end(self.ending), last=True)
                return
            if piece is not None:
                await send_piece(send, piece)
            elif not await self.wait():
                await send_piece(send, QUIET)

    async def wait(self) -> bool:
        """Whether there may be something to tell; False after some time without."""
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await self.wake.wait()
        except TimeoutError:
            return False
        return True

    def next_event(self) -> bytes | None:
        """The event of the newest revision where the follower was not told of it; may find that the stream ends."""
        head = self.find_head()
        if head is None or head.revision <= self.sent_revision:
            return None
        since, self.sent_revision = self.sent_revision, head.revision
        counted = not self.view.row_filtered
        return write_revision(self.settings, self.view.dataset, self.epoch, head, since, counted=counted)

    def find_head(self) -> Head | None:
        """The dataset's head, unless the stream ends because of what has become of it."""
        if self.heads.epoch != self.epoch:
            self.end("epoch_ended")
            return None
        head = self.heads.heads.get(self.key)
        if head is None:
            self.end("dataset_removed")
        elif 0 < self.sent_revision < head.oldest_revision:
            self.end("revision_gone")  # its changes can no longer be read
            return None
        return head


async def send_piece(send: Send, piece: bytes, *, last: bool = False) -> None:
    """Sends a part of the stream."""
    await send({"type": "http.response.body", "body": piece, "more_body": not last})
