"""Clients of S3-compatible stores, with the patience and the limits that all of them have.

Who may use a bucket is only ever said by the environment, as every tool for such stores does it: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_SKIP_SIGNATURE, or the machine's own role.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT = timedelta(seconds=10)
READ_TIMEOUT = timedelta(seconds=60)  # without a byte
TOTAL_TIMEOUT = timedelta(hours=1)  # of one object
RETRIES = 4
RETRY_TIMEOUT = timedelta(seconds=60)
REFUSED = re.compile(r"\b(401 Unauthorized|403 Forbidden)\b")  # a listing says it in its words only


def open_client(bucket: str, folder: str, endpoint: str) -> S3Store:
    """The client of a bucket, or of a folder in it; without an endpoint, of the store that the environment names.

    Plain HTTP is spoken only where the endpoint says so. BaseError or ValueError where they are no location.
    """
    config: Any = {"endpoint": endpoint, "virtual_hosted_style_request": False} if endpoint else {}
    options: Any = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        "timeout": TOTAL_TIMEOUT,
    }
    return S3Store(
        bucket,
        prefix=folder or None,
        config=config,
        client_options=options,
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_TIMEOUT},
    )


def is_refusal(error: Exception) -> bool:
    """Whether the store denies access, by the kind of the error or by its words."""
    return isinstance(error, PermissionDeniedError | UnauthenticatedError) or bool(REFUSED.search(str(error)))
