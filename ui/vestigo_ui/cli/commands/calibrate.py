"""`vestigo calibrate`: what a model is sure of, measured on known people, is written into its package."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vestigo_ui.cli.evaluation import stages
from vestigo_ui.cli.options import SchemaOption, check_schema
from vestigo_ui.cli.output import DeviceOption, JsonOption, emit, note, out


class SplitName(StrEnum):
    """`vestigo.evaluation.calibrate.CalibrationSplit` as the command line takes it."""

    test = "test"
    train = "train"


def calibrate_command(
    model: Annotated[str, typer.Option("--model", help="Folder of the model package; its config.json is rewritten.")],
    data: Annotated[Path, typer.Option("--data", help="Dataset of people that the model was not trained on.")],
    split: Annotated[
        SplitName, typer.Option("--split", help="test: the queries against the gallery; train: the training images.")
    ] = SplitName.test,
    measured_on: Annotated[
        str | None,
        typer.Option("--measured-on", help="What the data are, in words that people will read.", show_default=False),
    ] = None,
    schema: SchemaOption = None,
    device: DeviceOption = "auto",
    json_mode: JsonOption = False,
) -> None:
    """Calibrate a model's attributes and the filter by them, and write what was found into its package.

    One temperature an attribute makes confidence mean accuracy; it is fitted on a third of the identities. On the
    others the filter is measured: --filter auto and soft need it, and every filter can then say what it costs. A bound
    of 1 % needs at least 100 other identities. Weights stay; the digest changes, so index again with this model.

    Example: vestigo calibrate --model models/mine --data people/
    """
    from vestigo.datasets.recognise import load_dataset_for_model
    from vestigo.evaluation.calibrate import calibrate_model
    from vestigo_models.devices import resolve_device
    from vestigo_models.errors import ConfigError
    from vestigo_models.inference.package import ModelPackage, write_config

    started = time.monotonic()
    folder = Path(model)
    if not folder.is_dir():
        raise ConfigError(f"model {model!r}: a calibration is written into the package, so give its folder")
    package = ModelPackage.from_pretrained(folder)
    check_schema(schema, package.name, package.schema)
    dataset = load_dataset_for_model(data, package.schema)
    with stages() as open_stage:
        found = calibrate_model(
            package,
            dataset,
            split=split.value,
            measured_on=measured_on or "",
            device=resolve_device(device),
            progress=open_stage,
        )
    for text in found.notes:
        note(text)
    calibrated = package.with_calibration(found.calibration)
    write_config(folder, calibrated.config)
    result = {
        "model": folder,
        "digest": calibrated.digest,
        "measured_on": found.calibration.measured_on,
        "images": found.images,
        "identities": found.identities,
        "fitted": found.fitted,
        "temperatures": found.calibration.temperatures,
        "error_before": found.error_before,
        "error_after": found.error_after,
        "error_mean_before": _mean(found.error_before),
        "error_mean_after": _mean(found.error_after),
        "filter": _thresholds(found.calibration.model_dump(mode="json")["filter"]),
        "soft": found.calibration.soft.model_dump() if found.calibration.soft else None,
        "notes": list(found.notes),
        "seconds": time.monotonic() - started,
    }
    emit(result, json_mode, _tell)


def _thresholds(record: Mapping[str, Any]) -> dict[str, Any]:
    """The answers of `auto` by share of true matches, each with its `identities`, and whether it is on."""
    return {lost: {**answer, "on": answer["threshold"] <= 1} for lost, answer in record["max_lost"].items()}


def _mean(values: Mapping[str, float | None]) -> float | None:
    known = [value for value in values.values() if value is not None]
    return sum(known) / len(known) if known else None


def _tell(result: Mapping[str, Any]) -> None:
    out.print(f"{result['identities']} identities, {result['images']} images of {result['measured_on']}", markup=False)
    if result["error_mean_before"] is not None:
        out.print(
            f"calibration error: {100 * result['error_mean_before']:.1f} % before, "
            f"{100 * result['error_mean_after']:.1f} % with temperatures "
            + ", ".join(f"{name} {value:.2f}" for name, value in result["temperatures"].items())
        )
    for lost, answer in result["filter"].items():
        what = (
            f"confidence {answer['threshold']:.4g}: {100 * answer['kept_fraction']:.1f} % of other people's crops stay,"
            f" {100 * answer['loss']:.2f} % of the true matches are lost"
            if answer["on"]
            else "the filter stays off"
        )
        out.print(f"auto, at most {100 * float(lost):g} % lost ({answer['identities']} identities): {what}")
    if (soft := result["soft"]) is not None:
        out.print(
            f"soft: weight {soft['weight']:g} from confidence {soft['threshold']:g}:"
            f" mAP {soft['mAP']:.1f} %, {soft['mAP_without']:.1f} % without"
        )
    out.print(f"written into the package {result['model']} in {result['seconds']:.1f} s", style="dim", markup=False)
