"""`vestigo score`: the retrieval metrics for anybody's features."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vestigo_ui.cli.evaluation import ApName, ApOption, ProtocolName, ProtocolOption, RerankOption, judged, print_judged
from vestigo_ui.cli.output import JsonOption, emit, progress


class MetricName(StrEnum):
    """`vestigo.evaluation.Metric` as the command line takes it."""

    cosine = "cosine"
    euclidean = "euclidean"


def score_command(
    features: Annotated[
        Path,
        typer.Argument(
            help="Parquet file with pid and camid (whole numbers), split (query or gallery), embedding (list of float) "
            "and, if wanted, image (text; equal for equal pictures)."
        ),
    ],
    protocol: ProtocolOption = ProtocolName.cross_camera,
    distance: Annotated[MetricName, typer.Option("--distance", help="How embeddings are compared.")] = (
        MetricName.cosine
    ),
    ap: ApOption = ApName.standard,
    rerank: RerankOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score features that any program made: the metrics of `vestigo evaluate`, without a model of ours.

    Identity -1 is junk and ignored, identity 0 a distractor. Numbers that do not exist are null with --json.

    Example: vestigo score features.parquet --distance euclidean --json
    """
    from vestigo.datasets.formats.features import read_features
    from vestigo.evaluation.evaluate import evaluate_features
    from vestigo.evaluation.options import EvaluationOptions

    started = time.monotonic()
    query, gallery = read_features(features)
    options = EvaluationOptions(protocol=protocol.value, ap=ap.value, metric=distance.value, rerank=rerank)
    with progress("ranking", len(query.pids)) as update:
        benchmark = evaluate_features(query, gallery, options, lambda stage: update)
    result = {
        **judged(benchmark),
        "attributes": {},
        "attributes_mean": None,
        "attributes_balanced": None,
        "regions": {},
        "filter": None,
        "protocol": protocol.value,
        "distance": distance.value,
        "ap": ap.value,
        "rerank": rerank,
        "seconds": time.monotonic() - started,
    }
    emit(result, as_json, print_judged)
