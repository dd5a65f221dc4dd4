"""Search by words alone: crops by how likely they meet conditions such as `gender=female,backpack=yes`.

The score of a crop is the product of the calibrated probabilities of what is asked for, kept as a sum of logarithms.
Like a ranking by pictures this is a fold over batches of crops; the distance of a crop is minus its log-score, so 0 is
certainty and a difference of 0.7 halves the probability. Equal scores are ordered by crop id. Symbols: N crops, M
classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.ranking.top_k import Ranking
from vestigo_models.schemas.attributes import AttributeSchema

LEAST = float(np.finfo(np.float32).tiny)
"""A class of probability 0 is as unlikely as float32 can say: crops that fail one condition keep their order."""


def where_scores(
    probabilities: NDArray[np.float32], conditions: Mapping[str, str], schema: AttributeSchema
) -> NDArray[np.float64]:
    """(N,) float64 logarithms of the probability that all conditions hold, from calibrated (N, M) probabilities.

    `conditions` are attribute -> value as `AttributeSchema.parse` reads them; without any, every score is 0.

    Raises:
        ConfigError: the schema has no such attribute.
    """
    scores = np.zeros(len(probabilities))
    # One condition after the other, so that the sum does not depend on how the crops are batched.
    for name, value in sorted(conditions.items()):
        column = schema.slice(name).start + schema[name].values.index(value)
        scores += np.log(np.maximum(probabilities[:, column].astype(np.float64), LEAST))
    return scores


def rank_where(
    batches: Iterable[tuple[pa.Array, NDArray[np.float32]]],
    conditions: Mapping[str, str],
    schema: AttributeSchema,
    k: int,
) -> Ranking:
    """Rank an archive by conditions in one pass: the ranking of one query.

    Args:
        batches: crop ids (string) with their (n, M) calibrated probabilities.
        k: crops kept.
    """
    ranking = Ranking.of_nothing(1, k)
    for ids, probabilities in batches:
        ranking = ranking.merge(where_batch(ids, probabilities, conditions, schema, k))
    return ranking


def where_batch(
    ids: pa.Array,
    probabilities: NDArray[np.float32],
    conditions: Mapping[str, str],
    schema: AttributeSchema,
    k: int,
) -> Ranking:
    """Rank one batch of n crops: one step of the fold."""
    names = ids.to_numpy(zero_copy_only=False).astype("S")
    # 0 - x and not -x, which makes -0 of certainty.
    distances = 0.0 - where_scores(probabilities, conditions, schema)
    best = np.lexsort((names, distances))[:k]
    found = Ranking.of_nothing(1, k)
    kept = np.zeros((1, k), dtype=f"S{max(1, names.dtype.itemsize)}")
    kept[0, : len(best)] = names[best]
    found.distances[0, : len(best)] = distances[best]
    return Ranking(ids=kept, distances=found.distances, compared=len(names))
