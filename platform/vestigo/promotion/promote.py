"""Promotion of a model by a user, with the reasons that it needs."""

from collections.abc import Mapping
from typing import Unpack

from vestigo.promotion.gate import GATE, has_passed
from vestigo.store.audit.log import AuditContext
from vestigo.store.models.records import Model, Promotion
from vestigo.store.open import Store
from vestigo_models.errors import UsageError

REASONS_SHOWN = 3
"""Reasons of the gate that an objection repeats."""


def find_objection(model: Model, serving: str | None) -> str | None:
    """Return why a model should not replace the serving one, such as `was refused by the gate (...)`, or None."""
    if has_passed(model.scores, serving):
        return None
    gate = model.scores.get(GATE)
    if gate is None or gate["promoted"]:
        return "has not been compared with the serving model by the gate"
    return f"was refused by the gate ({'; '.join(gate['reasons'][:REASONS_SHOWN])})"


def promote_manually(
    store: Store,
    model: Model,
    *,
    by: str,
    account: str | None = None,
    serving: str | None,
    reason: str | None = None,
    force: bool = False,
    **context: Unpack[AuditContext],
) -> Promotion:
    """Promote a model; one that has passed the gate needs no reason.

    `serving` is the digest of the serving model before the promotion; `account` and `context` are for the audit entry.

    Raises:
        UsageError: If there is an objection and `force` or `reason` is missing.
        StoreError: If the model serves already, or another model serves now.
    """
    objection = find_objection(model, serving)
    if objection is not None and not (force and reason):
        raise UsageError(
            f"{model.name} ({model.digest[:12]}) {objection}: give --force and --reason TEXT to promote it all the same"
        )
    reasons = [*([reason] if reason else []), *(model.scores[GATE]["reasons"] if objection is None else [])]
    return store.models.promote(
        model.digest, by=by, reasons=reasons, expected_before=serving, account=account, **context
    )


def count_stale_crops(counts: Mapping[str, int], model: str | None) -> int:
    """Return how many crops are of other models than `model`, from the number of crops of each model."""
    return sum(count for digest, count in counts.items() if digest != model)
