"""What is noted of a message: the subscription's cursor and its next turn, the log of deliveries, the end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from catalog.storage.audit import AuditEntry, note_audit
from catalog.storage.outbox import OutboxEvent, tell
from catalog.storage.subscription_tables import Delivery, Subscription
from ingest.delivery.claims import IDLE, Claim
from ingest.delivery.message import Event, Message
from ingest.delivery.receiver import Reply
from ingest.delivery.retries import choose_wait

KEPT = timedelta(days=30)  # deliveries
DELETED_AT_ONCE = 10_000
AUDITED_AS = "worker"


@dataclass(frozen=True)
class Sent:
    """One attempt, and how it was answered."""

    claim: Claim
    event: Event
    message: Message
    at: datetime
    seconds: float
    reply: Reply

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.reply.error is None


def note_sent(engine: sa.Engine, sent: Sent) -> None:
    """Writes an attempt into the log, and moves the subscription on where it is still this worker's."""
    claim, reply = sent.claim, sent.reply
    failures = 0 if sent.delivered else claim.failures + 1
    wait = None if sent.delivered or claim.asked else choose_wait(failures, reply.after)
    retry_at = sent.at + timedelta(seconds=wait) if wait is not None else None
    with engine.begin() as connection:
        kept = sa.select(Subscription.lease).where(Subscription.id == claim.subscription_id).with_for_update()
        row = connection.execute(kept).one_or_none()
        if row is None:
            return  # deleted meanwhile, and its log with it
        connection.execute(sa.insert(Delivery).values(**describe_delivery(sent), retry_at=retry_at))
        if row.lease != claim.lease:
            return  # changed by its owner, or claimed by another worker: this one has no say any more
        if claim.asked:
            drop_asked(connection, claim)
        elif sent.delivered:
            move_on(connection, sent)
        elif reply.gone:
            disable(connection, claim, f"the receiver {reply.error}")
        elif retry_at is None:
            disable(connection, claim, f"{failures} attempts in a row failed; the last one: {reply.error}")
        else:
            postpone(connection, sent, failures, retry_at)


def describe_delivery(sent: Sent) -> dict[str, object]:
    """An attempt as the log has it."""
    test = sent.event.dataset is None
    return {
        "subscription_id": sent.claim.subscription_id,
        "event_id": None if test else sent.event.event_id,
        "message_id": sent.message.id,
        "kind": sent.event.kind,
        "dataset": sent.event.dataset,
        "revision": sent.event.facts.get("revision"),
        "attempt": 1 if sent.claim.asked else sent.claim.failures + 1,
        "sent_at": sent.at,
        "seconds": round(sent.seconds, 4),
        "status": sent.reply.status,
        "delivered": sent.delivered,
        "error": sent.reply.error,
    }


def move_on(connection: sa.Connection, sent: Sent) -> None:
    """The subscription is done with the event."""
    values = {"cursor": sent.event.sequence, "failures": 0, "failing_since": None, "retry_at": None}
    release(connection, sent.claim, values | {"delivered_at": sent.at})


def postpone(connection: sa.Connection, sent: Sent, failures: int, retry_at: datetime) -> None:
    """The event, or a newer revision in its place, is sent later."""
    since = sa.func.coalesce(Subscription.failing_since, sent.at)
    values = {"failures": failures, "failing_since": since, "retry_at": retry_at}
    release(connection, sent.claim, values)


def drop_asked(connection: sa.Connection, claim: Claim) -> None:
    """What was asked for is done, whatever came of it."""
    release(connection, claim, {"asked": Subscription.asked.op("-")(sa.literal(0, sa.Integer))})


def pass_over(engine: sa.Engine, claim: Claim) -> None:
    """Nothing is sent: the owner may not know of this event, or it is no longer kept."""
    with engine.begin() as connection:
        if claim.asked:
            drop_asked(connection, claim)
        elif claim.event is not None:
            release(connection, claim, {"cursor": claim.event.sequence})


def end_subscription(engine: sa.Engine, claim: Claim, reason: str) -> None:
    """Ends a subscription whose owner may not be told any more."""
    with engine.begin() as connection:
        disable(connection, claim, reason)


def put_off(engine: sa.Engine, claim: Claim, now: datetime, reason: str) -> None:
    """Tries again in a while, since nothing could be sent from here; the reason is shown with the subscription."""
    wait = choose_wait(min(claim.failures + 1, 3))
    with engine.begin() as connection:
        if claim.asked:
            drop_asked(connection, claim)
            return
        since = sa.func.coalesce(Subscription.failing_since, now)
        values = {"failing_since": since, "retry_at": now + timedelta(seconds=wait or 0.0)}
        release(connection, claim, values | {"reason": reason})


def disable(connection: sa.Connection, claim: Claim, reason: str) -> None:
    """Sends nothing more; on record, and told to those who look after this installation."""
    values = {"active": False, "reason": reason, "disabled_at": sa.func.now(), "asked": [], "retry_at": None}
    if not release(connection, claim, values):
        return
    facts = {"subscription": claim.subscription_id, "owner": claim.owner, "product": claim.product}
    tell(connection, "subscription.disabled", None, facts | {"major": claim.major})
    entry = AuditEntry("subscription disabled", product=claim.product, facts={"subscription": claim.subscription_id})
    note_audit(connection, AUDITED_AS, entry)


def release(connection: sa.Connection, claim: Claim, values: dict[str, object]) -> bool:
    """Whether the subscription was still this worker's, and so got these values."""
    mine = (Subscription.id == claim.subscription_id, Subscription.lease == claim.lease)
    ended: dict[str, object] = {"lease": None, "lease_until": None}
    if "reason" not in values:
        ended["reason"] = None
    return connection.execute(sa.update(Subscription).where(*mine).values(values | ended)).rowcount > 0


def tidy_deliveries(engine: sa.Engine, now: datetime) -> int:
    """How many entries of the log were too old and are gone; cursors without events before them move to the end."""
    with engine.begin() as connection:
        numbered = connection.execute(sa.select(sa.func.max(OutboxEvent.sequence))).scalar_one()
        if numbered is not None:
            connection.execute(IDLE, {"last": numbered})
    old = sa.select(Delivery.id).where(Delivery.sent_at < now - KEPT).limit(DELETED_AT_ONCE)
    gone = 0
    while True:
        with engine.begin() as connection:
            deleted = connection.execute(sa.delete(Delivery).where(Delivery.id.in_(old))).rowcount
        gone += deleted
        if deleted < DELETED_AT_ONCE:
            return gone
