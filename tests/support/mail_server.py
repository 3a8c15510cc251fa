"""A real mail server on this machine, which keeps what it takes and can refuse it for a while."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class MailServer:
    """What it took, and what it says next."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    refusal: str | None = None

    @property
    def url(self) -> str:
        """The address for DECANT_SMTP_URL."""
        return f"smtp://127.0.0.1:{self.port}?from=decant@example.org"

    @property
    def subjects(self) -> list[str]:
        """The subjects of its mails, in the order in which they came."""
        return [str(mail["Subject"]) for mail in self.mails]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        """Takes a mail, or not."""
        if self.refusal:
            return self.refusal
        self.raw.append(envelope.content)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 taken"


@contextmanager
def run_mail_server() -> Iterator[MailServer]:
    """The server as long as the context lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        handler = MailServer(free.getsockname()[1])
    controller = Controller(handler, hostname="127.0.0.1", port=handler.port)
    controller.start()
    try:
        yield handler
    finally:
        controller.stop()
