"""What the contract of one product may use of this machine: variables of the environment, and folders.

An operator says so, by DECANT_INPUT_VARIABLES and DECANT_INPUT_ROOTS: whoever writes a contract is trusted with its
product only. ${DECANT_DATA} and that folder are open to every contract, Decant's other variables and files to none.
In development all other variables are open, and so is what lies below the working folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from catalog.setting_values import ANY_PRODUCT, DATA_VARIABLE, OWN_PREFIX
from catalog.settings import Settings


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
            return (
                f"${{{name}}} is one of Decant's own settings, and of those contracts see ${{{DATA_VARIABLE}}} alone"
            )
        if self.settings.env == "development" or name in self.listed(self.settings.input_variables):
            return None
        return (
            f"the environment variable {name} is not open to this product: list it in DECANT_INPUT_VARIABLES,"
            f" such as {self.product}={name}"
        )

    def refuse_path(self, path: str | Path) -> str | None:
        """Why the contract may not have a file or folder read; None where it may. Links are followed first."""
        real = real_path(path)
        home, data = self.home, self.roots[0]
        inner_data = data != home and data.is_relative_to(home)
        if real.is_relative_to(home) and not (inner_data and real.is_relative_to(data)):
            return f"{str(path)!r} lies in DECANT_HOME, of which contracts see the data folder alone"
        if any(real.is_relative_to(root) for root in self.roots):
            return None
        return (
            f"{str(path)!r} is not open to this product: list a folder that holds it in DECANT_INPUT_ROOTS,"
            f" such as {self.product}={real}"
        )

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
