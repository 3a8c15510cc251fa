"""Values of settings: parsed from texts and checked one by one. Pure."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtime.bucket_location import read_location
from runtime.settings.rate import read_limit

OWN_PREFIX = "DECANT_"
DATA_VARIABLE = "DECANT_DATA"  # the one setting that contracts may read
ANY_PRODUCT = "*"
PRODUCT_NAME = re.compile(r"[A-Za-z0-9._-]+|\*")
ENGINE = re.compile(r"(spark|sc)://[A-Za-z0-9._:,\[\]-]+")
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_address(url: str) -> str:
    """The URL; ValueError unless it is an absolute http or https URL without credentials."""
    parts = urlsplit(url)
    # urlsplit drops line breaks and tabs, and accepts spaces.
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("not an address that starts with https://")
    if parts.username is not None or "#" in url:
        raise ValueError("an address must not have credentials or #")
    return url


def check_issuer(url: str) -> str:
    """The identifier of an issuer; ValueError unless it is an address without a query (RFC 8414)."""
    if "?" in url:
        raise ValueError("an issuer must not have a query")
    return check_address(url)


def read_json(value: object, empty: str = "[]") -> Any:
    """The JSON value of a text, `empty` where the text is empty; other values unchanged."""
    return json.loads(value or empty) if isinstance(value, str) else value


def check_contact(text: str) -> str:
    """A contact as RFC 9116 defines it: a URI of mail, telephone or a page."""
    if not re.fullmatch(r"(?:mailto:|tel:|https://)[\x21-\x7e]+", text):
        raise ValueError("a contact must begin with mailto:, https:// or tel:")
    return text


def check_network(text: str) -> str:
    """The network, such as 10.0.0.0/8."""
    ip_network(text)
    return text


def check_rate(text: str) -> str:
    """The rate, or `off`."""
    read_limit(text)
    return text


def split_list(value: object) -> Any:
    """The members of a text, separated by commas; other values unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def split_by_product(value: object) -> object:
    """The lists of a text such as `one=A,B;*=C` by product; other values unchanged."""
    if not isinstance(value, str):
        return value
    lists: dict[str, list[str]] = {}
    for part in filter(None, map(str.strip, value.split(";"))):
        product, equals, members = part.partition("=")
        if not equals or not PRODUCT_NAME.fullmatch(product.strip()):
            raise ValueError(f"{part!r} is not of the form product=one,other, or *=one for every product")
        lists.setdefault(product.strip(), []).extend(split_list(members))
    return lists


def check_variables(lists: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The names of variables by product; none of them is Decant's own."""
    for name in (name for names in lists.values() for name in names):
        if not VARIABLE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid name of a variable")
        if name.upper().startswith(OWN_PREFIX):
            raise ValueError(
                f"{name} is Decant's own: contracts may read {DATA_VARIABLE} alone, which needs no permit"
            )
    return lists


def check_roots(lists: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The folders by product; each an absolute path, so that the working folder does not matter."""
    for folder in (folder for folders in lists.values() for folder in folders):
        if not Path(folder).is_absolute():
            raise ValueError(f"{folder!r} must be an absolute path such as /srv/data")
    return lists


def check_engine(address: str) -> str:
    """What judges large batches."""
    if address != "local" and not ENGINE.fullmatch(address):
        raise ValueError(f"{address!r} is neither local nor of the form spark://host:7077 or sc://host:15002")
    return address


def check_store_url(place: str) -> str:
    """The place of Decant's own objects."""
    check_location(place)
    return place.rstrip("/")


def check_location(place: str) -> None:
    """ValueError where a text is no place in an object store."""
    try:
        read_location(place)
    except ValueError as error:
        raise ValueError(
            f"{place!r} is not of the form s3://bucket/folder or https://host/bucket/folder: {error}"
        ) from None


def check_buckets(lists: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The places in object stores by product."""
    for place in (place for places in lists.values() for place in places):
        check_location(place)
    return lists
