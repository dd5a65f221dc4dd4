"""Rank crops by the probability that they meet conditions such as `gender=female,backpack=yes`.

The score of a crop is the product of the calibrated probabilities of the given values, computed as a sum of logarithms.
The distance is the negative log-score: 0 is certainty, and a difference of 0.7 halves the probability. Ranking is a
fold over batches of crops; equal scores are ordered by crop id. Symbols: n crops of a batch, M classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from vestigo.ranking.top_k import Ranking
from vestigo_models.arrays import Float32Array, Float64Array
from vestigo_models.schemas.attributes import AttributeSchema

MIN_PROBABILITY = float(np.finfo(np.float32).tiny)
"""Lower bound of a probability, so that crops that fail one condition keep their order."""


def where_scores(probabilities: Float32Array, conditions: Mapping[str, str], schema: AttributeSchema) -> Float64Array:
    """Return (n,) logarithms of the probability that all conditions hold, 0 without conditions.

    Raises:
        ConfigError: If the schema has no such attribute.
    """
    scores = np.zeros(len(probabilities))
    # One condition after the other, so that the sum does not depend on how the crops are batched.
    for name, value in sorted(conditions.items()):
        column = schema.slice(name).start + schema[name].values.index(value)
        scores += np.log(np.maximum(probabilities[:, column].astype(np.float64), MIN_PROBABILITY))
    return scores


def rank_where(
    batches: Iterable[tuple[pa.Array, Float32Array]],
    conditions: Mapping[str, str],
    schema: AttributeSchema,
    k: int,
) -> Ranking:
    """Rank a gallery, ids with (n, M) calibrated probabilities, by conditions as the ranking of one query."""
    ranking = Ranking.empty(1, k)
    for ids, probabilities in batches:
        names = ids.to_numpy(zero_copy_only=False).astype("S")
        # 0 - x instead of -x, which makes -0 of certainty.
        distances = 0.0 - where_scores(probabilities, conditions, schema)
        best = np.lexsort((names, distances))[:k]
        part = Ranking(ids=names[best][None], distances=distances[best][None], compared=len(names))
        ranking = ranking.merge(part)
    return ranking
