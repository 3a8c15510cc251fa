"""Messages as mail, through the SMTP server that the operator names. Passwords and messages go over TLS alone."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from catalog.model.notifications import is_mail_address
from ingest.notifying.messages import Message

LIMIT_SECONDS = 15.0  # for the connection, and for each answer
PORTS = {"smtp": 587, "smtps": 465}
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")
UNFIT = re.compile(r"[^A-Za-z0-9-]")  # for the id of a mail


class MailServerError(ValueError):
    """The address of a mail server cannot be used; the message holds nothing of it."""


@dataclass(frozen=True)
class MailServer:
    """One SMTP server, and what it sends as."""

    scheme: str
    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    sender: str = ""
    to: tuple[str, ...] = ()
    tls: bool = True


def read_mail_server(url: str) -> MailServer:
    """The server that `smtp://` or `smtps://` means; MailServerError where it cannot be used."""
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise MailServerError("the address of the mail server is not valid") from None
    if scheme not in PORTS or not host:
        raise MailServerError("the address of the mail server must begin with smtp:// or smtps://")
    options = dict(parse_qsl(parts.query))
    if unknown := options.keys() - {"from", "to", "tls"}:
        raise MailServerError(f"a mail server has the options from, to and tls, not {len(unknown)} other")
    user = unquote(parts.username) if parts.username else None
    sender = options.get("from") or user or ""
    to = tuple(options["to"].split(",")) if "to" in options else ()
    if not all(map(is_mail_address, (sender, *to))):
        raise MailServerError("the mail server needs ?from=, the sender's address, and valid addresses in to=")
    tls = options.get("tls", "off" if host in LOCAL_HOSTS and not user else "required")
    if tls not in ("required", "off"):
        raise MailServerError("tls of a mail server is required or off")
    if tls == "off" and user and host not in LOCAL_HOSTS:
        raise MailServerError("a password is only sent over TLS")
    password = unquote(parts.password) if parts.password else None
    return MailServer(scheme, host, port or PORTS[scheme], user, password, sender, to, tls == "required")


def make_mail(server: MailServer, to: tuple[str, ...], message: Message, now: datetime) -> EmailMessage:
    """The mail of a message. One that is sent again has the same id, and those about an incident are one thread."""
    domain = server.sender.rpartition("@")[2]
    mail = EmailMessage()
    mail["From"] = server.sender
    mail["To"] = ", ".join(to)
    mail["Subject"] = message.title
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<decant-{UNFIT.sub('', message.id)}@{domain}>"
    mail["References"] = " ".join(f"<decant-{UNFIT.sub('', thread)}@{domain}>" for thread in message.threads)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text + "\n")
    return mail


def send_mail(server: MailServer, to: tuple[str, ...], message: Message, now: datetime) -> str | None:
    """Why a mail was not taken, in words of our own; None where it was."""
    try:
        with connect(server) as client:
            if server.scheme == "smtp" and server.tls:
                client.starttls(context=ssl.create_default_context())
            if server.user:
                client.login(server.user, server.password or "")
            refused = client.send_message(make_mail(server, to, message, now), server.sender, list(to))
    except smtplib.SMTPRecipientsRefused:
        return "the mail server takes none of the recipients"
    except smtplib.SMTPAuthenticationError:
        return "the mail server does not take the password"
    except smtplib.SMTPNotSupportedError:
        return "the mail server lacks TLS or a way to sign in: tls=off sends mail without a password unencrypted"
    except smtplib.SMTPResponseException as error:
        return f"the mail server answered {int(error.smtp_code)}"
    except ssl.SSLError:
        return "the mail server's certificate is not valid, or it does not know TLS"
    except TimeoutError:
        return f"no answer of the mail server within {LIMIT_SECONDS:.0f} seconds"
    except (smtplib.SMTPException, OSError, UnicodeError):
        return "the mail server cannot be reached, or has ended the connection"
    return f"the mail server takes {len(refused)} of {len(to)} recipients not" if refused else None


def connect(server: MailServer) -> smtplib.SMTP:
    """A connection. It names itself after the sender: to ask for this machine's own name can take long."""
    domain = server.sender.rpartition("@")[2] or socket.gethostname()
    if server.scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, domain, timeout=LIMIT_SECONDS, context=context)
    return smtplib.SMTP(server.host, server.port, domain, timeout=LIMIT_SECONDS)
