"""Brokers that events may be sent to, as the operator names them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class EventBroker(BaseModel):
    """One broker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["kafka", "nats"]
    hosts: Annotated[str, Field(min_length=1)]  # host:port, of NATS nats://host:port; several with commas between
    user: str | None = None
    password: SecretStr | None = None
    tls: bool = False  # Kafka; NATS says it by tls://
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    ca: str | None = None  # the file of the certificate authority, where not one that the system trusts
