"""What ships with Decant beside its code: the demo's contracts, and scripts that migrate these and its own tables.

A checkout has the contracts at its top, where the default of DECANT_CONTRACTS finds them; a wheel has the same files
inside `migrations`, since it installs packages and nothing beside them. No command writes where Decant is installed.
"""

from __future__ import annotations

from runtime.settings.settings import PROJECT_ROOT

SCRIPTS = PROJECT_ROOT / "migrations"
SHIPPED_VERSIONS = SCRIPTS / "versions"
PACKED_CONTRACTS = SCRIPTS / "contracts"
IN_CHECKOUT = not PACKED_CONTRACTS.is_dir()
SHIPPED_CONTRACTS = PROJECT_ROOT / "contracts" if IN_CHECKOUT else PACKED_CONTRACTS
