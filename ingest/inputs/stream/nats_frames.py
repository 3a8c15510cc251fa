"""The messages of one request to a NATS server, cut out of what it sends, many at a time.

The library matches each message with an expression, and queues it for a task: that takes several times as long. Only
the frames of the one subscription that is waited for are taken here; every other frame is the library's, whole.

    MSG subject sid [reply] size⏎ payload⏎          HMSG subject sid [reply] header-size size⏎ headers payload⏎
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from nats.protocol.parser import Parser

from ingest.inputs.stream.messages import Message

LINE_END = b"\r\n"
WORDS = {b"MSG": 4, b"HMSG": 5}  # of the first line where nobody is to be replied to
MakeMessage = Callable[[bytes, bytes, bytes, bytes], Message]  # of subject, reply, headers and payload


class Request:
    """What is waited for: so many messages, or the server's word that there are no more."""

    def __init__(self, sid: int, number: int, make: MakeMessage) -> None:
        self.sid = b"%d" % sid
        self.number = number
        self.make = make
        self.messages: list[Message] = []
        self.over = asyncio.Event()

    def take(self, words: Sequence[bytes], content: bytes) -> None:
        """Takes one message by the words of its first line and what follows that line."""
        replied = len(words) > WORDS[words[0]]
        if replied:
            cut = int(words[-2]) if words[0] == b"HMSG" else 0
            self.messages.append(self.make(words[1], words[3], content[:cut], content[cut:]))
        if not replied or len(self.messages) == self.number:
            self.over.set()


class FrameParser(Parser):
    """The library's parser, which gets whole frames and none of those that are waited for."""

    def __init__(self, client: object) -> None:
        super().__init__(client)
        self.request: Request | None = None

    def reset(self) -> None:
        """Begins anew, as on a new connection."""
        super().reset()
        self.left = bytearray()  # the beginning of a frame

    async def parse(self, data: bytes = b"") -> None:
        """Takes what came over the connection."""
        left = self.left
        left += data
        place = 0
        while (line_end := left.find(LINE_END, place)) >= 0:
            words = bytes(left[place:line_end]).split()
            begin = end = line_end + len(LINE_END)
            if words and words[0] in WORDS:
                end += int(words[-1]) + len(LINE_END)
                if len(left) < end:
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
