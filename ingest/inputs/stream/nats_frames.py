"""The messages of one request to a NATS server, cut out of what it sends, many at a time.

The library matches each message with an expression, and queues it for a task: that takes several times as long. Only
the frames of the one subscription that is waited for are taken here; every other frame is the library's, whole.

    MSG subject sid [reply] size⏎ payload⏎          HMSG subject sid [reply] header-size size⏎ headers payload⏎
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from nats.protocol.parser import Parser

LINE_END = b"\r\n"
WORDS = {b"MSG": 4, b"HMSG": 5}  # of the first line where nobody is to be replied to
SIZE = b"%d"


class Request:
    """What is waited for: so many messages, or the server's word that there are no more. The messages are columns."""

    def __init__(self, sid: int, number: int) -> None:
        self.sid = b"%d" % sid
        self.number = number
        self.subjects: list[bytes] = []
        self.replies: list[bytes] = []  # the address that each would be acknowledged at
        self.payloads: list[bytes] = []
        self.headers: dict[int, bytes] = {}  # of those messages that have some, by their place
        self.over = asyncio.Event()

    @property
    def size(self) -> int:
        """Bytes of the messages that came."""
        return sum(map(len, self.payloads))

    def take(self, words: Sequence[bytes], content: bytes) -> None:
        """Takes one message by the words of its first line and what follows that line."""
        if len(words) == WORDS[words[0]]:
            self.over.set()
        else:
            cut = int(words[-2]) if words[0] == b"HMSG" else 0
            if cut:
                self.headers[len(self.payloads)] = content[:cut]
            self.add([words[1]], [words[3]], [content[cut:]])

    def take_plain(self, data: bytes) -> int:
        """Takes the whole frames that the data begins with, if each is a message of one line without headers.

        The bytes that were taken: none where a frame is anything else. What is in every second line is as long as the
        line before it says, so the lines are what they would be one after the other.
        """
        lines = data.split(LINE_END)[:-1]
        payloads = lines[1::2]
        heads = lines[: 2 * len(payloads) : 2]
        words = b" ".join(heads).split(b" ")
        columns = WORDS[b"MSG"] + 1  # with an address to reply to
        names, subjects, sids, replies, sizes = (words[column::columns] for column in range(columns))
        # A line of fewer words has the name of the next one where its size should be.
        if len(words) != columns * len(heads) or sizes != list(map(SIZE.__mod__, map(len, payloads))):
            return 0
        if {*names} != {b"MSG"} or {*sids} != {self.sid}:
            return 0
        self.add(subjects, replies, payloads)
        return sum(map(len, heads)) + sum(map(len, payloads)) + 2 * len(LINE_END) * len(heads)

    def add(self, subjects: list[bytes], replies: list[bytes], payloads: list[bytes]) -> None:
        """Keeps messages."""
        self.subjects += subjects
        self.replies += replies
        self.payloads += payloads
        if len(self.payloads) >= self.number:
            self.over.set()

    async def wait(self, seconds: float) -> None:
        """Returns when it is over; TimeoutError where nothing comes for so long."""
        known = -1
        while not self.over.is_set():
            if len(self.payloads) == known:
                raise TimeoutError
            known = len(self.payloads)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), seconds)


class FrameParser(Parser):
    """The library's parser, which gets whole frames and none of those that are waited for."""

    def __init__(self, client: object) -> None:
        super().__init__(client)
        self.request: Request | None = None

    def reset(self) -> None:
        """Begins anew, as on a new connection."""
        super().reset()
        self.left = bytearray()  # the beginning of a frame
        self.least = 0  # bytes of that frame, where they are known; before they are there, it is not looked at

    async def parse(self, data: bytes = b"") -> None:
        """Takes what came over the connection."""
        left = self.left
        left += data
        if len(left) < self.least:
            return
        self.least = 0
        place = self.request.take_plain(bytes(left)) if self.request is not None else 0
        while (line_end := left.find(LINE_END, place)) >= 0:
            words = bytes(left[place:line_end]).split()
            begin = end = line_end + len(LINE_END)
            if words and words[0] in WORDS:
                end += int(words[-1]) + len(LINE_END)
                if len(left) < end:
                    self.least = end - place
                    break
                if self.request is not None and words[2] == self.request.sid:
                    self.request.take(words, bytes(left[begin : end - len(LINE_END)]))
                    place = end
                    continue
            await super().parse(bytes(left[place:end]))
            place = end
        del left[:place]


def read_headers(block: bytes) -> list[tuple[str, bytes]]:
    """The headers of a message, in their order; the first line is the version."""
    pairs = (line.partition(b":") for line in block.split(LINE_END)[1:])
    return [(name.decode("utf-8", "replace"), value.strip()) for name, colon, value in pairs if colon]
