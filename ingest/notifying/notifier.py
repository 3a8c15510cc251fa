"""Tells people what is wrong, and when it is right again: every 15 seconds it looks at the ledger and sends.

The worker runs `keep_notifying` in a thread of its own, on connections of its own, and no load waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.notifications import Channel
from ingest.notifying.claims import Claim, claim_due, note_failed, note_sent
from ingest.notifying.messages import make_message, make_test
from ingest.notifying.record import channels_of, record_incidents
from ingest.notifying.sending import send
from runtime.logs import log
from runtime.settings.settings import Settings

Clock = Callable[[], datetime]
LOOK_SECONDS = 15.0
AT_ONCE = 4  # channels
LOGGER = logging.getLogger("decant.notify")


def read_clock() -> datetime:
    """Now."""
    return datetime.now(UTC)


class Notifier:
    """Sends messages to the channels of the products that it knows."""

    def __init__(self, settings: Settings, engine: sa.Engine, find_catalog: Callable[[], Catalog]) -> None:
        self.settings = settings
        self.engine = engine
        self.find_catalog = find_catalog

    def keep_notifying(self, stopping: threading.Event) -> None:
        """Looks and sends until the worker stops; what is on its way then is noted, or sent again by the next."""
        while not stopping.wait(LOOK_SECONDS):
            try:
                self.run_round(read_clock, stopping.is_set)
            except (psycopg.Error, sa.exc.SQLAlchemyError) as error:
                log(LOGGER, "messages_wait", logging.WARNING, error=type(error).__name__)
            except Exception:
                LOGGER.exception("messages_failed")

    def run_round(
        self, clock: Callable[[], datetime] = read_clock, is_over: Callable[[], bool] = lambda: False
    ) -> int:
        """How many messages were tried, after one look at the ledger."""
        channels = channels_of(self.find_catalog())
        if not channels:
            return 0
        record_incidents(self.engine, self.find_catalog(), clock())
        tried = 0
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notify") as threads:
            while not is_over() and (claims := claim_due(self.engine, list(channels), clock(), AT_ONCE)):
                for _ in threads.map(lambda claim: self.tell(claim, channels[claim.channel], clock), claims):
                    tried += 1
        return tried

    def tell(self, claim: Claim, channel: Channel, clock: Clock) -> None:
        """Sends the message of a claim, and notes what came of it."""
        now = clock()
        message = make_message(claim, channel, name_of(self.find_catalog(), channel), self.settings.public_url, now)
        try:
            error = send(self.settings, channel, message, now)
        except Exception as failure:  # of a library: it is no reason to leave the claim to run out
            error = f"the message could not be sent ({type(failure).__name__})"
        if error is None:
            note_sent(self.engine, claim, now)
            return
        given_up = note_failed(self.engine, claim, now, error)
        facts = {"channel": channel.key, "incidents": claim.incident_ids, "error": error}
        log(LOGGER, "message_given_up" if given_up else "message_not_taken", logging.WARNING, **facts)


def send_test(settings: Settings, catalog: Catalog, channel: Channel, now: datetime) -> str | None:
    """Why a test message was not taken; None where it was. It needs no database."""
    return send(settings, channel, make_test(channel, name_of(catalog, channel), now), now)


def name_of(catalog: Catalog, channel: Channel) -> str:
    """The name of a channel's product."""
    return catalog.products[channel.product, channel.major].name
