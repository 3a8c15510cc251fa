"""Sends what is due to subscriptions: several at once, but one event at a time to each.

The worker runs `keep_delivering` in a thread; each message is sent in a thread of its own, so that a receiver that
hangs holds up nobody else. What a killed worker had sent and not noted is sent again, under the same id.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.webhook_address import allowed_networks, read_topic
from catalog.storage.subscription_rights import Readable, find_lacking, find_readable
from catalog.storage.webhook_secrets import SecretLostError, read_secrets
from ingest.delivery.claims import Claim, claim_due, is_migrated, read_scopes
from ingest.delivery.message import TEST_KIND, Event, make_headers, make_message
from ingest.delivery.outcomes import Sent, end_subscription, note_sent, pass_over, put_off
from ingest.delivery.receiver import Receiver
from ingest.delivery.topics import Topics
from ingest.http_client.guarded_network import Resolver
from runtime.logs import log
from runtime.settings.secret import read_secret
from runtime.settings.settings import Settings

AT_ONCE = 8
PAUSE_SECONDS = 0.5
LOST_PAUSE_SECONDS = 5.0  # while the database is away: then the worker itself starts anew
LOGGER = logging.getLogger("decant.delivery")


class Deliverer:
    """Sends events to the subscriptions of the products that it knows."""

    def __init__(
        self,
        settings: Settings,
        engine: sa.Engine,
        find_catalog: Callable[[], Catalog],
        find_addresses: Resolver | None = None,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.find_catalog = find_catalog
        networks = allowed_networks(settings.webhook_networks, development=settings.env == "development")
        self.receiver = Receiver(networks, find_addresses)
        self.topics = Topics(settings.event_brokers)
        self.free = threading.Semaphore(AT_ONCE)
        self.news = threading.Event()  # something was sent: there may be more for the same subscription

    def keep_delivering(self, stopping: threading.Event) -> None:
        """Sends what is due until the worker stops; what is on its way then is noted, or sent again by the next."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook") as threads:
            while not stopping.is_set():
                try:
                    begun = self.begin_due(threads, datetime.now(UTC))
                except (psycopg.Error, sa.exc.SQLAlchemyError) as error:
                    log(LOGGER, "deliveries_wait", logging.WARNING, error=type(error).__name__)
                    stopping.wait(LOST_PAUSE_SECONDS)
                    continue
                except Exception:
                    LOGGER.exception("deliveries_failed")
                    stopping.wait(LOST_PAUSE_SECONDS)
                    continue
                if not begun:
                    self.news.wait(PAUSE_SECONDS)
                    self.news.clear()
        self.topics.close()

    def begin_due(self, threads: ThreadPoolExecutor, now: datetime) -> int:
        """How many messages were begun, as many as threads are free for."""
        free = 0
        while free < AT_ONCE and self.free.acquire(blocking=False):
            free += 1
        claims: list[Claim] = []
        try:
            claims = self.claim(now, free) if free else []
        finally:
            for _ in range(free - len(claims)):
                self.free.release()
        for claim in claims:
            threads.submit(self.deliver_safely, claim)
        return len(claims)

    def deliver_safely(self, claim: Claim) -> None:
        """Sends one message in a thread of its own; a claim that fails runs out, and is taken again."""
        try:
            self.deliver(claim, datetime.now(UTC))
            self.news.set()
        except Exception as error:
            facts = {"subscription": claim.subscription_id, "error": type(error).__name__}
            log(LOGGER, "delivery_failed", logging.ERROR, **facts)
        finally:
            self.free.release()

    def deliver_due(self, now: datetime) -> int:
        """How many messages were sent until nothing was due at this moment, one after the other."""
        sent = 0
        while claims := self.claim(now, 1):
            for claim in claims:
                self.deliver(claim, now)
                sent += 1
        return sent

    def claim(self, now: datetime, most: int) -> list[Claim]:
        """What is due for the products whose contracts are here."""
        products = [f"{product.id}@{product.major}" for product in self.find_catalog().products.values()]
        return claim_due(self.engine, products, now, most)

    def deliver(self, claim: Claim, now: datetime) -> None:
        """Sends the event of a claim and notes what came of it, or what keeps it from being sent."""
        readable = self.judge(claim, now)
        event = claim.event
        if readable is None:
            return
        if event is None or not (event.kind == TEST_KIND or readable.sees(event.dataset or "")):
            pass_over(self.engine, claim)
            return
        try:
            secrets = read_secrets(read_secret(self.settings), claim.subscription_id, claim.secrets, now)
        except SecretLostError as error:
            put_off(self.engine, claim, now, str(error))
            self.report(claim, "webhook_secret_lost")
            return
        counts = event.dataset is None or readable.sees_all(event.dataset)
        message = make_message(event, self.find_source(claim, event), counts=counts)
        started = time.monotonic()
        if read_topic(claim.address) is not None:
            reply = self.topics.send(claim.address, message.body)
        else:
            reply = self.receiver.send(claim.address, make_headers(message, secrets, now), message.body)
        note_sent(self.engine, Sent(claim, event, message, now, time.monotonic() - started, reply))
        if reply.error is not None:
            self.report(claim, "webhook_not_taken", event=message.id, status=reply.status, error=reply.error)

    def judge(self, claim: Claim, now: datetime) -> Readable | None:
        """What the owner may read now; None where that is too little, which ends the subscription."""
        product = self.find_catalog().products[claim.product, claim.major]
        scopes = read_scopes(self.engine, claim.subscription_id, now)
        readable = find_readable(product, scopes or frozenset())
        lacking = "its key is revoked or expired" if scopes is None else find_lacking(claim.wanted, product, scopes)
        if lacking is None:
            return readable
        if scopes is not None and not is_migrated(self.engine, product):
            put_off(self.engine, claim, now, "the worker has another contract than the database: see its log")
            return None
        end_subscription(self.engine, claim, lacking)
        self.report(claim, "subscription_disabled", reason=lacking)
        return None

    def find_source(self, claim: Claim, event: Event) -> str:
        """The address in this installation of what an event is about."""
        base = (self.settings.public_url or "").rstrip("/")
        if event.dataset is None:
            return f"{base}/subscriptions/{claim.subscription_id}"
        dataset = self.find_catalog().products[claim.product, claim.major].datasets.get(event.dataset)
        return base + (dataset.path if dataset else f"/data/{claim.product}/v{claim.major}/{event.dataset}")

    def report(self, claim: Claim, word: str, **facts: object) -> None:
        """A line of the log."""
        log(LOGGER, word, logging.WARNING, subscription=claim.subscription_id, **facts)
