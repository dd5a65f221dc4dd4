"""`vestigo score`: retrieval metrics of given features."""

import time
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.evaluation import full_result, print_ranking
from vestigo_ui.cli.output import Output, progress


def score_command(
    *,
    features: Annotated[
        Path,
        Argument(
            help="Parquet file with pid and camid (integers), split (query or gallery), embedding (list of float) and "
            "optionally image (text; equal for equal images)."
        ),
    ],
    ranking: opts.RankingOptions,
    distance: Annotated[Literal["cosine", "euclidean"], Option(help="How embeddings are compared.")] = "cosine",
) -> Output:
    """Score the features of any program with the retrieval metrics of `vestigo evaluate`; no model is needed.

    Identity -1 is junk and ignored, identity 0 a distractor. Numbers that do not exist are null with --json.

    Example: vestigo score features.parquet --distance euclidean --json
    """
    from vestigo.evaluation.features import evaluate_features, read_features
    from vestigo.evaluation.ranking import EvaluationOptions

    started = time.monotonic()
    query, gallery = read_features(features)
    options = EvaluationOptions(**vars(ranking), metric=distance)
    with progress("ranking", len(query[1])) as update:
        evaluation = evaluate_features(query, gallery, options, lambda _: update)
    result = {
        **full_result(evaluation),
        "filter": None,
        **vars(ranking),
        "distance": distance,
        "seconds": time.monotonic() - started,
    }
    return Output(result, print_ranking)
