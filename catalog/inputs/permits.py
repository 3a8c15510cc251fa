"""What the contract of one product may use of this machine: variables of its environment, folders, its credentials.

An operator says so, by DECANT_INPUT_VARIABLES, DECANT_INPUT_ROOTS and DECANT_INPUT_BUCKETS: whoever writes a contract
is trusted with its product only. ${DECANT_DATA} and that folder are open to every contract, Decant's other variables
and files to none. In development all other variables are open, and so are all buckets, which are read with the
machine's own credentials, and what lies below the working folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from catalog.model.sources import BucketSource
from runtime.bucket_location import SCHEME, BucketLocation, make_location, name_location, read_location
from runtime.settings.settings import Settings
from runtime.settings.values import ANY_PRODUCT, DATA_VARIABLE, OWN_PREFIX


@dataclass(frozen=True)
class Permits:
    """What one product may use."""

    settings: Settings
    product: str

    def refuse_variable(self, name: str) -> str | None:
        """Why the contract may not have a variable filled in; None where it may."""
        if name == DATA_VARIABLE:
            return None
        # Settings are read in any case, so a contract could name them in any case too.
        if name.upper().startswith(OWN_PREFIX):
            return f"${{{name}}} is a setting of Decant: contracts may only use ${{{DATA_VARIABLE}}}"
        if self.settings.env == "development" or name in self.listed(self.settings.input_variables):
            return None
        return (
            f"the environment variable {name} is not permitted for this product: list it in DECANT_INPUT_VARIABLES,"
            f" such as {self.product}={name}"
        )

    def refuse_path(self, path: str | Path) -> str | None:
        """Why the contract may not have a file or folder read; None where it may. Links are followed first."""
        real = real_path(path)
        home, data = self.home, self.roots[0]
        inner_data = data != home and data.is_relative_to(home)
        if real.is_relative_to(home) and not (inner_data and real.is_relative_to(data)):
            return f"{str(path)!r} is in DECANT_HOME, where contracts may only read the data folder"
        if any(real.is_relative_to(root) for root in self.roots):
            return None
        return (
            f"{str(path)!r} is not permitted for this product: list a folder that contains it in DECANT_INPUT_ROOTS,"
            f" such as {self.product}={real}"
        )

    def refuse_bucket(self, source: BucketSource, path: str, expand: Callable[[str], str]) -> str | None:
        """Why the contract may not have objects read; None where it may. `expand` puts variables' values in.

        What is said names the place as the contract writes it: a variable may hold what is nobody else's business.
        """
        written = source.address
        try:
            bucket, folder, endpoint = (expand(text or "") for text in source.filled)
            location = make_location(bucket, folder, endpoint, path)
        except ValueError as error:
            return f"{written} with the path {path!r} is not valid: {error}"
        if self.store is not None and (self.store.holds(location) or location.holds(self.store)):
            return f"{written} holds DECANT_STORE_URL, where the raw batches of all products are"
        if self.settings.env == "development" or any(listed.holds(location) for listed in self.buckets):
            return None
        plain = (
            f"{SCHEME}bucket/folder" if "${" in written else name_location(*(text or "" for text in source.filled))
        )
        return (
            f"{written} is not permitted for this product: list its bucket, or a folder in it, in"
            f" DECANT_INPUT_BUCKETS,"
            f" such as {self.product}={plain}"
        )

    @cached_property
    def buckets(self) -> list[BucketLocation]:
        """The places in object stores that the machine's credentials may be used for."""
        return [read_location(text) for text in self.listed(self.settings.input_buckets)]

    @cached_property
    def store(self) -> BucketLocation | None:
        """Where Decant's own objects are, if they are in a bucket."""
        url = self.settings.store_url
        return read_location(url) if url is not None else None

    @cached_property
    def home(self) -> Path:
        """Where Decant's own files are, really."""
        return real_path(self.settings.home)

    @cached_property
    def roots(self) -> list[Path]:
        """The real folders that files may lie below; the data folder is the first."""
        roots: list[str | Path] = [self.settings.data_folder, *self.listed(self.settings.input_roots)]
        working = Path.cwd()
        # A command that runs in / was not put there to open the whole machine.
        if self.settings.env == "development" and working != Path(working.anchor):
            roots.append(working)
        return [real_path(root) for root in roots]

    def listed(self, lists: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """What a setting lists for the product, or for all of them."""
        return lists.get(self.product, ()) + lists.get(ANY_PRODUCT, ())


def real_path(path: str | Path) -> Path:
    """The path without links, also of what is not there."""
    return Path(os.path.realpath(path))
