"""What makes a task worth a reviewer's time: a score for each of N tasks, not negative, 0 for nothing to learn.

A task is a tracklet, one decision for all its crops, or a single crop. All strategies see the same `Candidates`; the
draw that follows them mixes chance in (see `vestigo.review.sampling.draw`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr
from scipy.stats import rankdata
from sklearn.cluster import MiniBatchKMeans
from sklearn.neighbors import NearestNeighbors

from vestigo_models.schemas.attributes import AttributeSchema

Floats = NDArray[np.float64]
NEIGHBOURS = 5
CLUSTERS = 64
STEEP = 0.05
"""Share of the tasks over whose ranks a score falls to 1/e: most of what scores decide goes to a tenth of the tasks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """N tasks that could be reviewed.

    Attributes:
        schema: of the attributes, n of them with M classes together.
        probabilities: (N, M) float, the mean over a task's crops; adds up to 1 within each attribute.
        votes: (N, M) float, the share of a task's crops whose likeliest class each is.
        embeddings: (N, D) float, of length 1: people who look alike are near.
        labels: (N, n) int64, what is believed so far, from a dataset or an earlier review; -1 where nothing is.
    """

    schema: AttributeSchema
    probabilities: NDArray[np.floating]
    votes: NDArray[np.floating]
    embeddings: NDArray[np.floating]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.probabilities)

    def about(self, names: Sequence[str]) -> Candidates:
        """The same tasks as far as some attributes are concerned. Raises ConfigError for one that there is not."""
        places = [self.schema.index(name) for name in names]
        columns = np.concatenate([np.arange(self.schema.classes)[self.schema.slice(name)] for name in names])
        return Candidates(
            schema=AttributeSchema(self.schema.name, tuple(self.schema.attributes[place] for place in places)),
            probabilities=self.probabilities[:, columns],
            votes=self.votes[:, columns],
            embeddings=self.embeddings,
            labels=self.labels[:, places],
        )


def random(candidates: Candidates) -> Floats:
    """Every task alike."""
    return np.ones(len(candidates))


def least_confident(candidates: Candidates) -> Floats:
    """How far the likeliest class of each attribute is from certain (1 - max p), the mean over attributes."""
    return _mean(doubts(candidates))


def doubts(candidates: Candidates) -> Floats:
    """How far each attribute's likeliest class is from certain: n x N."""
    return _by_attribute(candidates.schema, candidates.probabilities, lambda _, p: 1 - p.max(axis=1))


def entropy(candidates: Candidates) -> Floats:
    """The mean over attributes of the entropy of p, as a share of the greatest possible; steeply, by rank.

    Means over many attributes are all alike, and a draw in proportion to them is hardly better than chance. So the task
    of rank r among N (0 is the one in most doubt) scores exp(-r / (STEEP N)), in whatever range the means lie.
    """

    return steep(entropies(candidates).mean(axis=0))


def entropies(candidates: Candidates) -> Floats:
    """The entropy of each attribute's p as a share of the greatest possible: n x N, 0 to 1."""
    schema, shares = candidates.schema, candidates.probabilities.astype(np.float64)
    groups = [shares[:, schema.slice(name)] for name in schema.names]
    return np.stack([entr(p).sum(axis=1) / np.log(p.shape[1]) for p in groups])


def steep(doubts: Floats) -> Floats:
    """Scores that fall steeply with the rank of N doubts, the greatest of which scores 1."""
    ranks = rankdata(-doubts, method="min") - 1
    return np.asarray(np.exp(-ranks / (STEEP * len(doubts))), dtype=np.float64)


def disagreement(candidates: Candidates) -> Floats:
    """The share of a task's crops that are against its majority, the mean over attributes; 0 for a single crop."""
    return _mean(minorities(candidates))


def minorities(candidates: Candidates) -> Floats:
    """The share of a task's crops that are against its majority: n x N."""
    return _by_attribute(candidates.schema, candidates.votes, lambda _, votes: 1 - votes.max(axis=1))


def neighbours(candidates: Candidates) -> Floats:
    """How far a task is from what its nearest five others are said to wear: total variation, the mean over attributes.

    Only who looks alike both ways counts: of two people the one is among the other's nearest, and the other way round.
    """
    return _mean(strangeness(candidates))


def strangeness(candidates: Candidates) -> Floats:
    """How far each attribute is from what the nearest others are said to wear: n x N."""
    count = min(NEIGHBOURS, len(candidates) - 1)
    if count < 1:
        return np.zeros((len(candidates.schema), len(candidates)))
    search = NearestNeighbors(n_neighbors=count).fit(candidates.embeddings)
    near = search.kneighbors(return_distance=False)
    mutual = (near[near] == np.arange(len(candidates))[:, None, None]).any(axis=2)
    partners = np.maximum(mutual.sum(axis=1), 1)[:, None]
    theirs = (candidates.probabilities[near] * mutual[:, :, None]).sum(axis=1) / partners
    apart = np.where(mutual.any(axis=1)[:, None], np.abs(candidates.probabilities - theirs), 0.0)
    return _by_attribute(candidates.schema, apart, lambda _, one: one.sum(axis=1) / 2)


def label_errors(candidates: Candidates) -> Floats:
    """How much likelier another class is than the label (the margin of confident learning: Northcutt et al., JAIR 2021,
    section 3.1), the mean over attributes; 0 where the label is the likeliest, or there is none.
    """
    return _mean(contradictions(candidates))


def contradictions(candidates: Candidates) -> Floats:
    """How much likelier another class is than each attribute's label: n x N."""

    def margin(position: int, p: NDArray[np.floating]) -> Floats:
        labels = candidates.labels[:, position]
        known = labels >= 0
        own = p[np.arange(len(p)), np.where(known, labels, 0)]
        return np.where(known, p.max(axis=1) - own, 0.0).astype(np.float64)

    return _by_attribute(candidates.schema, candidates.probabilities, margin)


def rare(candidates: Candidates) -> Floats:
    """How seldom its classes are said of anybody: expected -log share, the mean over attributes.

    Shares are those of the candidates' own probabilities, so that no label is needed.
    """
    return _mean(surprises(candidates))


def surprises(candidates: Candidates) -> Floats:
    """How seldom each attribute's classes are said of anybody: n x N."""

    def surprise(_: int, p: NDArray[np.floating]) -> Floats:
        shares = p.mean(axis=0, dtype=np.float64)
        return np.asarray(p @ -np.log(np.maximum(shares, 1 / (10 * len(p)))), dtype=np.float64)

    return _by_attribute(candidates.schema, candidates.probabilities, surprise)


def diverse(candidates: Candidates) -> Floats:
    """One over the number of candidates that look alike: clusters of embeddings share a draw evenly."""
    count = min(CLUSTERS, len(candidates))
    clustering = MiniBatchKMeans(count, random_state=0, n_init=1)
    sizes = np.bincount(found := clustering.fit_predict(candidates.embeddings), minlength=count)
    return np.asarray(1 / sizes[found], dtype=np.float64)


def mixed(candidates: Candidates) -> Floats:
    """Doubt, disagreement and rarity in equal shares of the draw."""
    shares = np.asarray(blend(candidates).sum(axis=0), dtype=np.float64)
    return shares if shares.any() else random(candidates)


def blend(candidates: Candidates) -> Floats:
    """What doubt, disagreement and rarity of each attribute add to its task's share of the draw: n x N."""
    scores = [score(candidates) for score in (doubts, minorities, surprises)]
    return np.asarray(sum(score / max(score.sum(), 1e-300) for score in scores), dtype=np.float64)


STRATEGIES: Mapping[str, Callable[[Candidates], Floats]] = {
    "random": random,
    "entropy": entropy,
    "least-confident": least_confident,
    "disagreement": disagreement,
    "neighbours": neighbours,
    "label-errors": label_errors,
    "rare": rare,
    "diverse": diverse,
    "mix": mixed,
}
"""By the name that the command line knows."""
BY_ATTRIBUTE: Mapping[str, Callable[[Candidates], Floats]] = {
    "entropy": entropies,
    "least-confident": doubts,
    "disagreement": minorities,
    "neighbours": strangeness,
    "label-errors": contradictions,
    "rare": surprises,
    "mix": blend,
}
"""Of strategies that go by attributes, what each of n attributes adds to the score of each of N tasks: n x N."""
DEFAULT = "entropy"
"""What is drawn by where nobody chooses: measured in `benchmarks/review.md`."""


def _mean(scores: Floats) -> Floats:
    return np.asarray(scores.mean(axis=0), dtype=np.float64)


def _by_attribute(
    schema: AttributeSchema,
    shares: NDArray[np.floating],
    score: Callable[[int, NDArray[np.floating]], NDArray[np.floating]],
) -> Floats:
    """`score(position, its columns)` of (N, M) shares of classes, for each attribute: n x N."""
    scores = [score(position, shares[:, schema.slice(name)]) for position, name in enumerate(schema.names)]
    return np.asarray(np.stack(scores), dtype=np.float64)
