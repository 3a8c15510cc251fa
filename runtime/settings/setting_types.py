"""Types of settings: how the text of a variable is read, and what it must be."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from runtime.settings.event_brokers import EventBroker
from runtime.settings.token_issuers import TokenIssuer
from runtime.settings.values import (
    check_buckets,
    check_contact,
    check_engine,
    check_network,
    check_rate,
    check_roots,
    check_store_url,
    check_variables,
    read_json,
    split_by_product,
    split_list,
)

Contact = Annotated[str, AfterValidator(check_contact)]
Engine = Annotated[str, AfterValidator(check_engine)]
StoreUrl = Annotated[str, AfterValidator(check_store_url)]
RateText = Annotated[str, AfterValidator(check_rate)]

# Separated by commas.
TextList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(check_network)], ...], NoDecode, BeforeValidator(split_list)]

# Lists by product: `one=A,B;*=C`.
ByProduct = Annotated[dict[str, tuple[str, ...]], NoDecode, BeforeValidator(split_by_product)]
Variables = Annotated[ByProduct, AfterValidator(check_variables)]
Roots = Annotated[ByProduct, AfterValidator(check_roots)]
Buckets = Annotated[ByProduct, AfterValidator(check_buckets)]

# JSON.
TokenIssuers = Annotated[tuple[TokenIssuer, ...], NoDecode, BeforeValidator(read_json)]
EventBrokers = Annotated[dict[str, EventBroker], NoDecode, BeforeValidator(partial(read_json, empty="{}"))]
PeppersByVersion = Annotated[dict[int, SecretStr], NoDecode, BeforeValidator(partial(read_json, empty="{}"))]
