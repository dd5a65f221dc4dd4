"""Scores that say which tasks are worth annotating."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vestigo_models.arrays import Float64Array, FloatArray, Int64Array
from vestigo_models.schemas.attributes import AttributeSchema

NEIGHBOURS = 5
CLUSTERS = 64
RANK_DECAY = 0.05
"""Share of the tasks over whose ranks a score falls to 1/e: most of the weight is on the first tenth of the tasks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskFeatures:
    """Features of N tasks that can be sampled. A task is a tracklet or a single crop."""

    schema: AttributeSchema  # n attributes with M classes in total
    probabilities: FloatArray  # (N, M) float, mean over a task's crops; sums to 1 within each attribute
    votes: FloatArray  # (N, M) float, share of a task's crops whose most likely class each is
    embeddings: FloatArray  # (N, D) float, of length 1
    labels: Int64Array  # (N, n) int64, known labels of a dataset or an earlier review; -1 where there is none

    def __len__(self) -> int:
        return len(self.probabilities)

    def select_attributes(self, names: Sequence[str]) -> TaskFeatures:
        """Return the same tasks with some attributes only."""
        places = [self.schema.index(name) for name in names]
        columns = np.concatenate([np.arange(self.schema.classes)[self.schema.slice(name)] for name in names])
        return replace(
            self,
            schema=AttributeSchema(self.schema.name, tuple(self.schema.attributes[place] for place in places)),
            probabilities=self.probabilities[:, columns],
            votes=self.votes[:, columns],
            labels=self.labels[:, places],
        )


def equal_scores(features: TaskFeatures) -> Float64Array:
    """Return (N,) ones."""
    return np.ones(len(features))


def uncertainty(features: TaskFeatures) -> Float64Array:
    """Compute 1 - max p of each attribute, (n, N)."""
    return _score_attributes(features.schema, features.probabilities, lambda _, p: 1 - p.max(axis=1))


def normalised_entropy(features: TaskFeatures) -> Float64Array:
    """Compute the entropy of each attribute's probabilities divided by its maximum, (n, N) in 0..1."""
    from scipy.special import entr

    return _score_attributes(
        features.schema,
        features.probabilities.astype(np.float64),
        lambda _, p: entr(p).sum(axis=1) / np.log(p.shape[1]),
    )


def decay_by_rank(scores: Float64Array) -> Float64Array:
    """Compute exp(-r / (RANK_DECAY N)) of N scores, where r = 0 is the rank of the highest score.

    Means over many attributes hardly differ between tasks. Sampling in proportion to them is close to random sampling,
    which ranks prevent.
    """
    from scipy.stats import rankdata

    ranks = rankdata(-scores, method="min") - 1
    return np.asarray(np.exp(-ranks / (RANK_DECAY * len(scores))), dtype=np.float64)


def crop_disagreement(features: TaskFeatures) -> Float64Array:
    """Compute the share of a task's crops that vote against its majority, (n, N); 0 for a single crop."""
    return _score_attributes(features.schema, features.votes, lambda _, votes: 1 - votes.max(axis=1))


def neighbour_distance(features: TaskFeatures) -> Float64Array:
    """Compute the total variation between a task and the mean of its mutual nearest neighbours, (n, N).

    Two tasks are mutual neighbours if each is among the `NEIGHBOURS` nearest embeddings of the other.
    """
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(features) - 1)
    if count < 1:
        return np.zeros((len(features.schema), len(features)))
    search = NearestNeighbors(n_neighbors=count).fit(features.embeddings)
    near = search.kneighbors(return_distance=False)
    mutual = (near[near] == np.arange(len(features))[:, None, None]).any(axis=2)
    partners = np.maximum(mutual.sum(axis=1), 1)[:, None]
    means = (features.probabilities[near] * mutual[:, :, None]).sum(axis=1) / partners
    difference = np.where(mutual.any(axis=1)[:, None], np.abs(features.probabilities - means), 0.0)
    return _score_attributes(features.schema, difference, lambda _, group: group.sum(axis=1) / 2)


def label_margin(features: TaskFeatures) -> Float64Array:
    """Compute how much more probable the most likely class is than the known label, (n, N).

    The score is 0 where the label is the most likely class or there is none. Source: margin of confident learning
    (Northcutt et al., JAIR 2021, section 3.1).
    """

    def margin(position: int, p: FloatArray) -> Float64Array:
        labels = features.labels[:, position]
        known = labels >= 0
        own = p[np.arange(len(p)), np.where(known, labels, 0)]
        return np.where(known, p.max(axis=1) - own, 0.0).astype(np.float64)

    return _score_attributes(features.schema, features.probabilities, margin)


def rarity(features: TaskFeatures) -> Float64Array:
    """Compute the expected -log share of each attribute's classes among all tasks, (n, N); needs no label."""

    def surprise(_: int, p: FloatArray) -> Float64Array:
        shares = p.mean(axis=0, dtype=np.float64)
        return np.asarray(p @ -np.log(np.maximum(shares, 1 / (10 * len(p)))), dtype=np.float64)

    return _score_attributes(features.schema, features.probabilities, surprise)


def inverse_cluster_size(features: TaskFeatures) -> Float64Array:
    """Compute 1 / size of a task's cluster of embeddings, (N,): each cluster has the same total score."""
    from sklearn.cluster import MiniBatchKMeans

    count = min(CLUSTERS, len(features))
    clusters = MiniBatchKMeans(count, random_state=0, n_init=1).fit_predict(features.embeddings)
    return np.asarray(1 / np.bincount(clusters, minlength=count)[clusters], dtype=np.float64)


def mixture(features: TaskFeatures) -> Float64Array:
    """Compute uncertainty, disagreement and rarity with equal totals, (n, N)."""
    scores = [score(features) for score in (uncertainty, crop_disagreement, rarity)]
    return np.asarray(sum(score / max(score.sum(), 1e-300) for score in scores), dtype=np.float64)


def mean_over_attributes(scores: Float64Array) -> Float64Array:
    """Reduce (n, N) scores to (N,)."""
    return np.asarray(scores.mean(axis=0), dtype=np.float64)


def sum_over_attributes(scores: Float64Array) -> Float64Array:
    """Reduce (n, N) scores to (N,); ones where every score is 0."""
    sums = np.asarray(scores.sum(axis=0), dtype=np.float64)
    return sums if sums.any() else np.ones(len(sums))


def decayed_mean_over_attributes(scores: Float64Array) -> Float64Array:
    """Reduce (n, N) scores to (N,) and let them decay by rank."""
    return decay_by_rank(scores.mean(axis=0))


def _score_attributes(
    schema: AttributeSchema, shares: FloatArray, score: Callable[[int, FloatArray], FloatArray]
) -> Float64Array:
    """Apply `score(position, columns)` to the columns of each attribute: (N, M) -> (n, N)."""
    scores = [score(position, shares[:, schema.slice(name)]) for position, name in enumerate(schema.names)]
    return np.asarray(np.stack(scores), dtype=np.float64)
