"""Messages to chats, webhooks and other services through Apprise, which is the extra `notify`."""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from catalog.model.notifications import TOOLS
from ingest.notifying.messages import Message, for_chat

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
# Services of Apprise that act on this machine, or run something.
LOCAL = frozenset(
    {"dbus", "glib", "gnome", "growl", "kde", "macosx", "qt", "syslog", "windows", "mailto", "mailtos", "rsyslog"}
)
WEBHOOKS = {"http": "json", "https": "jsons"}
STATUS = re.compile(r"error=(\d{3})\b")


class StatusListener(logging.Handler):
    """Remembers the status that a service answered: Apprise says it to its log alone.

    Nothing else of that log is kept: it repeats addresses, which hold secrets, and what services say.
    """

    status: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Takes the status out of a line."""
        if found := STATUS.search(record.getMessage()):
            self.status = found[1]


def send_chat(tool: str, address: str, message: Message) -> str | None:
    """Why a message was not taken, in words of our own; None where it was."""
    try:
        import apprise
    except ImportError:
        return "the extra `notify` is not installed: pip install 'decant-data[notify]'"
    silence(logging.getLogger("apprise"))
    asset = apprise.AppriseAsset(http_redirects=False, plugin_paths=[], secure_logging=True)
    service = open_service(apprise, asset, tool, address)
    if isinstance(service, str):
        return service
    sender, listener = apprise.Apprise(asset=asset), StatusListener()
    service.logger = logging.Logger("apprise", logging.WARNING)
    service.logger.addHandler(listener)
    sender.add(service)
    try:
        title, text = for_chat(message.title), for_chat(message.text)
        taken = sender.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT)
    except Exception as error:  # of any of a hundred services
        return f"the service of the channel failed ({type(error).__name__})"
    if taken:
        return None
    outcome = f"answered {listener.status}" if listener.status else "did not answer"
    return f"the service of the channel {outcome}"


def silence(logger: logging.Logger) -> None:
    """Keeps Apprise's log from being written anywhere."""
    logger.propagate = False


def open_service(apprise: Any, asset: Any, tool: str, address: str) -> Any:
    """The service that an address means; a text that says why it cannot be used, and holds nothing of it."""
    if tool == "webhook":
        address = as_webhook(address)
    service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if service is None:
        return f"the variable's value is no address that Apprise knows for {tool}"
    allowed = TOOLS[tool]
    if (allowed is not None and service.schema not in allowed) or service.schema in LOCAL:
        return f"the variable's value is an address of another kind than {tool}"
    service.socket_connect_timeout = CONNECT_SECONDS
    service.socket_read_timeout = READ_SECONDS
    return service


def as_webhook(address: str) -> str:
    """An http(s) address as Apprise writes one that takes JSON; its parameters are sent on."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme not in WEBHOOKS:
        return address
    query = urlencode([(f"-{name}", value) for name, value in parse_qsl(parts.query, keep_blank_values=True)])
    return urlunsplit((WEBHOOKS[parts.scheme], parts.netloc, parts.path, query, ""))
