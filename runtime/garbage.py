"""When Python looks for garbage: seldom, and never among what stays for as long as the process lives."""

from __future__ import annotations

import gc

# Objects until a look for garbage, and looks until one at older ones. Modules and contracts stay: by Python's default
# of 700, a short command spends a tenth of its time on looking through them.
COLLECTIONS = (20_000, 10, 10)


def collect_seldom() -> None:
    """Makes the process look for garbage less often than Python does by default."""
    gc.set_threshold(*COLLECTIONS)


def leave_out_what_exists() -> None:
    """Keeps everything that exists by now out of all later looks for garbage.

    A look at all objects stops every thread: with the tables of 2,000 datasets among them, for half a second.
    """
    gc.collect()
    gc.freeze()
