"""The condition for rejected records that are chosen, for every statement that lists, replays or dismisses them."""

from __future__ import annotations

from catalog.model.reject_choice import RejectChoice

# Of the table's alias `r`. Every parameter has a type of its own: a driver may send all of them without one.
CONDITION = """
(CAST({ids} AS bigint[]) IS NULL OR r.id = ANY(CAST({ids} AS bigint[])))
AND (CAST({load_id} AS bigint) IS NULL OR r.load_id = CAST({load_id} AS bigint))
AND (CAST({reason} AS text) IS NULL OR EXISTS (SELECT FROM jsonb_array_elements(r.reasons) AS broken
  WHERE CAST({reason} AS text) IN (broken ->> 'rule', broken ->> 'property',
    coalesce(broken ->> 'property' || ': ', '') || (broken ->> 'rule'))))
AND (CAST({rule} AS text) IS NULL AND CAST({prop} AS text) IS NULL
  OR EXISTS (SELECT FROM jsonb_array_elements(r.reasons) AS broken
    WHERE (CAST({rule} AS text) IS NULL OR broken ->> 'rule' = CAST({rule} AS text))
    AND (CAST({prop} AS text) IS NULL OR broken ->> 'property' = CAST({prop} AS text))))
"""
NAMES = ("reason", "rule", "prop", "ids", "load_id")


def write_condition(parameter: str) -> str:
    """The condition in SQL; `parameter` is how the driver spells a parameter, such as `:{}`."""
    return f"({CONDITION.format_map({name: parameter.format(name) for name in NAMES})})"


def bind_choice(choice: RejectChoice) -> dict[str, object]:
    """The values of the condition's parameters."""
    return vars(choice) | {"ids": list(choice.ids) if choice.ids is not None else None}
