"""The options of the attribute filter, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vestigo_models.attribute_filter.modes import FilterChoice, FilterConfig

FilterOption = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="off|strict|quality|TAU|auto|soft",
        help="Discard crops whose confident attributes differ: strict from a confidence of 0.7 on (the paper's), "
        "quality from 0.95, TAU from any other, auto from one that loses at most --max-lost of the true matches; soft "
        "discards nothing and lets conflicts add to the distance.",
    ),
]
MaxLostOption = Annotated[
    float, typer.Option("--max-lost", help="Of --filter auto: the largest share of true matches to lose.")
]


def choose(mode: str, max_lost: float, calibration: dict[str, Any] | None) -> FilterChoice:
    """Decide what the filter does with a model of this `calibration`.

    Raises:
        UsageError: one line with what is wrong with an option, or what the model lacks for it.
    """
    from vestigo_models.attribute_filter.modes import choose_filter
    from vestigo_models.attribute_filter.record import Calibration

    return choose_filter(asked(mode, max_lost), Calibration.read(calibration))


def asked(mode: str, max_lost: float) -> FilterConfig:
    """The two options as settings; raises UsageError for a share that is none."""
    from vestigo_models.attribute_filter.modes import FilterConfig
    from vestigo_models.errors import UsageError

    if not 0 < max_lost < 1:
        raise UsageError(f"--max-lost {max_lost:g}: give a share of true matches between 0 and 1, such as 0.01")
    return FilterConfig(filter=mode, max_lost=max_lost)


def expected(choice: FilterChoice | None) -> dict[str, Any] | None:
    """What a filter over a store is expected to cost, under the names of the contract; None where there is none.

    `guaranteed` is false: nobody knows of an archive that its people are like those of the calibration, which
    `holds_for` names.
    """
    if choice is None or choice.mode == "off":
        return None
    return {
        "mode": choice.mode,
        "threshold": choice.threshold,
        "expected_kept": choice.cost.kept_fraction if choice.cost else None,
        "expected_lost": choice.cost.lost if choice.cost else None,
        "guaranteed": False,
        "holds_for": choice.holds_for,
        "sentence": choice.sentence(),
    }
