"""One message to one channel: its address filled in from the environment, within what its product may use."""

from __future__ import annotations

from datetime import datetime

from catalog.inputs.permits import Permits
from catalog.inputs.variables import expand_variables
from catalog.model.notifications import EMAIL, MAILTO, Channel, read_recipients
from ingest.notifying.chat import send_chat
from ingest.notifying.mail import MailServerError, read_mail_server, send_mail
from ingest.notifying.messages import Message
from runtime.settings.settings import Settings


def send(settings: Settings, channel: Channel, message: Message, now: datetime) -> str | None:
    """Why a message was not taken, in words that hold no secret; None where it was."""
    address = channel.address
    if not address.startswith(MAILTO):
        address, problems = expand_variables(address, Permits(settings, channel.product))
        if problems or not address:
            return problems[0] if problems else "the variable of the channel is empty"
    if channel.tool != EMAIL:
        return send_chat(channel.tool, address, message)
    try:
        return send_to_people(settings, address, message, now)
    except MailServerError as error:
        return str(error)


def send_to_people(settings: Settings, address: str, message: Message, now: datetime) -> str | None:
    """A mail to a mailto: address by the installation's own server, or by the server that the address is."""
    if not address.startswith(MAILTO):
        server = read_mail_server(address)
        return send_mail(server, server.to, message, now) if server.to else "the mail server's address lacks to="
    if settings.smtp_url is None:
        return "DECANT_SMTP_URL is not set: it names the mail server"
    try:
        to = tuple(read_recipients(address))
    except ValueError:
        return "the address has recipients that are no mail addresses"
    return send_mail(read_mail_server(settings.smtp_url.get_secret_value()), to, message, now)
