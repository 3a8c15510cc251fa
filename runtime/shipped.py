"""What ships with Decant beside its code: the demo's contracts, data and reports, and scripts of migrations.

A checkout has the contracts and the folder of the demo at its top, where the default of DECANT_CONTRACTS finds the
former; a wheel has the same files inside `migrations`, since it installs packages and nothing beside them. No command
writes where Decant is installed.
"""

from __future__ import annotations

from runtime.settings.settings import PROJECT_ROOT

SCRIPTS = PROJECT_ROOT / "migrations"
SHIPPED_VERSIONS = SCRIPTS / "versions"
PACKED_CONTRACTS = SCRIPTS / "contracts"
IN_CHECKOUT = not PACKED_CONTRACTS.is_dir()
SHIPPED_CONTRACTS = PROJECT_ROOT / "contracts" if IN_CHECKOUT else PACKED_CONTRACTS
DEMO_FOLDER = PROJECT_ROOT / "demo" if IN_CHECKOUT else SCRIPTS / "demo"
SHIPPED_REPORTS = DEMO_FOLDER / "reports"
DEMO_DATA = DEMO_FOLDER / "data"  # product / number of the delivery / file
