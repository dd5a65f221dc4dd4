"""A model serves because somebody decides so, or no longer: what must be said for it, and what is written down."""

from __future__ import annotations

from collections.abc import Mapping

from vestigo.promotion.gate import GATE, has_passed
from vestigo.store.models.records import Model, Promotion
from vestigo.store.open import Store
from vestigo_models.errors import UsageError

NAMED = 3
"""Reasons of the gate that an objection repeats."""


def objection(model: Model, serving: str | None) -> str | None:
    """Why a model should not take the place of what serves, as in `was refused by the gate (...)`; None if it may."""
    if has_passed(model.scores, serving):
        return None
    gate = model.scores.get(GATE)
    if gate is None or gate["promoted"]:
        return "has not been judged by the gate against the model that serves"
    return f"was refused by the gate ({'; '.join(gate['reasons'][:NAMED])})"


def promote_by_hand(
    store: Store,
    model: Model,
    *,
    by: str,
    account: str | None = None,
    serving: str | None,
    reason: str | None = None,
    force: bool = False,
    case: str | None = None,
    authority: str | None = None,
) -> Promotion:
    """Let a model serve in the place of `serving`, what served when somebody decided.

    What the gate let pass needs no reason; `by`, `account`, `case` and `authority` as `ModelRepository.promote`.

    Raises:
        UsageError: there is an objection, and not both force and a reason.
        StoreError: it serves already, or another model serves by now.
    """
    why = objection(model, serving)
    if why is not None and not (force and reason):
        raise UsageError(
            f"{model.name} ({model.digest[:12]}) {why}: give --force and --reason TEXT to promote it all the same"
        )
    reasons = [*([reason] if reason else []), *(model.scores[GATE]["reasons"] if why is None else [])]
    return store.models.promote(
        model.digest,
        by=by,
        reasons=reasons,
        expected_before=serving,
        account=account,
        case=case,
        authority=authority,
    )


def stale_crops(counts: Mapping[str, int], model: str | None) -> int:
    """Of `ModelRepository.crop_counts`, how many crops are of other models than `model`; all of them where it is None."""
    return sum(count for digest, count in counts.items() if digest != model)
