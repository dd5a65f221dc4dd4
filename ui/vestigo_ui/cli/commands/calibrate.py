"""`vestigo calibrate`: calibrate the confidence of a model on a dataset and write the result into its package."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

from vestigo_models.errors import ConfigError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.datasets import HoldOutOptions, read_dataset_for_model
from vestigo_ui.cli.output import Output, note, out, progress_stages


def calibrate_command(
    *,
    model: Annotated[str, Option(help="Folder of the model package; its config.json is rewritten.")],
    data: Annotated[Path, Option(help="Dataset, a folder or archive, of people that the model was not trained on.")],
    hold_out: HoldOutOptions,
    split: Annotated[
        Literal["test", "train"], Option(help="test: the queries against the gallery; train: the training images.")
    ] = "test",
    measured_on: Annotated[str | None, Option(help="Description of the data, for users.")] = None,
    schema: opts.SchemaOption = None,
    execution: opts.ExecutorOptions,
    device: opts.DeviceOption = "auto",
) -> Output:
    """Calibrate a model's attributes and its attribute filter, and write the calibration into the package.

    One temperature per attribute makes confidence mean accuracy; it is fitted on a third of the identities. The filter
    is measured on the others: --filter auto and soft need this, and every filter can then state its expected losses. A
    bound of 1 % needs at least 100 other identities. Weights stay; the digest changes, so index again with this model.
    Images are processed as by `vestigo index`: the result is the same in one process and on any number of actors.

    Example: vestigo calibrate --model models/mine --data people/
    """
    from vestigo.evaluation.calibrate import calibrate_model
    from vestigo_models.inference.package import ModelPackage
    from vestigo_models.networks.weights import write_config
    from vestigo_workers.evaluation.embedder import ExecutorEmbedder

    started = time.monotonic()
    settings = execution.settings(device)
    folder = Path(model)
    if not folder.is_dir():
        raise ConfigError(f"model {model!r}: a calibration is written into the package, so give its folder")
    package = ModelPackage.from_pretrained(folder)
    opts.check_schema(schema, package.name, package.schema)
    dataset = read_dataset_for_model(data, package.schema, hold_out)
    with progress_stages() as open_progress, ExecutorEmbedder(package.with_calibration(None), settings) as embedder:
        fit = calibrate_model(
            package, dataset, split=split, measured_on=measured_on or "", progress=open_progress, embedder=embedder
        )
    for text in fit.notes:
        note(text)
    calibration = fit.calibration
    calibrated = package.with_calibration(calibration)
    write_config(folder, calibrated.config)
    thresholds = calibration.model_dump(mode="json")["filter"]["max_lost"]
    result = {
        "model": folder,
        "digest": calibrated.digest,
        "measured_on": calibration.measured_on,
        "images": fit.images,
        "identities": fit.identities,
        "fitted": fit.fitted,
        "temperatures": calibration.temperatures,
        "error_before": fit.error_before,
        "error_after": fit.error_after,
        "error_mean_before": _mean(fit.error_before),
        "error_mean_after": _mean(fit.error_after),
        "filter": {lost: {**choice, "on": choice["threshold"] <= 1} for lost, choice in thresholds.items()},
        "soft": calibration.soft.model_dump() if calibration.soft else None,
        "notes": list(fit.notes),
        "seconds": time.monotonic() - started,
    }
    return Output(result, _print)


def _mean(values: Mapping[str, float | None]) -> float | None:
    known = [value for value in values.values() if value is not None]
    return sum(known) / len(known) if known else None


def _print(result: Mapping[str, Any]) -> None:
    out.print(f"{result['identities']} identities, {result['images']} images of {result['measured_on']}")
    if result["error_mean_before"] is not None:
        out.print(
            f"calibration error: {100 * result['error_mean_before']:.1f} % before, "
            f"{100 * result['error_mean_after']:.1f} % with temperatures "
            + ", ".join(f"{name} {value:.2f}" for name, value in result["temperatures"].items())
        )
    for lost, choice in result["filter"].items():
        effect = "the filter stays off"
        if choice["on"]:
            effect = (
                f"confidence {choice['threshold']:.4g}: {100 * choice['kept_fraction']:.1f} % of other people's crops "
                f"are kept, {100 * choice['loss']:.2f} % of the true matches are lost"
            )
        out.print(f"auto, at most {100 * float(lost):g} % lost ({choice['identities']} identities): {effect}")
    if (soft := result["soft"]) is not None:
        out.print(
            f"soft: weight {soft['weight']:g} from confidence {soft['threshold']:g}:"
            f" mAP {soft['mAP']:.1f} %, {soft['mAP_without']:.1f} % without"
        )
    out.print(f"written into the package {result['model']} in {result['seconds']:.1f} s", style="dim")
