"""Choosing what is reviewed next: a strategy's scores, a draw with known probabilities, and its record in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.review.labels.agreement import believed_labels
from vestigo.review.sampling.draw import draw, inclusion_probabilities
from vestigo.review.sampling.pool import Pool, gather
from vestigo.review.sampling.strategies import STRATEGIES
from vestigo.search.gallery import EVERYWHERE, Scope, require_attributes
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import DRAW
from vestigo.store.review.records import Draw, LabelBatch, NewTask, Unit
from vestigo.store.runs.records import Model
from vestigo_models.errors import UsageError

RECORDED_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a draw is asked for.

    Attributes:
        strategy: a name of `vestigo.review.sampling.strategies.STRATEGIES`.
        budget: tasks.
        unit: what a task is.
        seed: of every random choice; None counts the batches of the project, so that each draw is another one.
        scope: cameras and times that are looked at.
        about: attributes that the strategy goes by; none named = all.
    """

    strategy: str
    budget: int
    unit: Unit = "tracklet"
    seed: int | None = None
    scope: Scope = EVERYWHERE
    about: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The strategy, and what about, as it is recorded."""
        return f"{self.strategy} of {', '.join(self.about)}" if self.about else self.strategy


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a draw would review: tasks in the order of their review, and their probabilities."""

    draw: Draw
    pool: Pool
    probabilities: NDArray[np.float64]
    picked: tuple[int, ...]

    @property
    def tasks(self) -> list[NewTask]:
        """The tasks that were drawn."""
        return [self.pool.tasks[place] for place in self.picked]


def propose(
    store: Store, project: str, model: Model, wish: Wish, progress: Callable[[int], None] | None = None
) -> Proposal:
    """Draw tasks for a project without recording anything; fewer than asked for where fewer are left.

    Raises:
        UsageError: an unknown strategy, a budget below 1, or a model that predicts no attributes.
        ConfigError: an attribute that it does not predict.
        StoreError: the model has no crops there.
    """
    if wish.strategy not in STRATEGIES:
        raise UsageError(f"strategy {wish.strategy!r} is not one of {', '.join(STRATEGIES)}")
    if wish.budget < 1:
        raise UsageError(f"budget {wish.budget}: give a number of tasks from 1 on")
    schema = require_attributes(model)
    pool = gather(
        store, model, unit=wish.unit, scope=wish.scope, believed=believed_labels(store, schema), progress=progress
    )
    if not pool.tasks:
        raise UsageError(f"there is no crop of model {model.name} to be reviewed: index an archive, or widen the scope")
    known = store.drawn_keys(project, [task.key for task in pool.tasks])
    drawn = np.array([task.key in known for task in pool.tasks], dtype=np.bool_)
    budget = min(wish.budget, int((~drawn).sum()))
    seed = len(store.label_batches(project)) if wish.seed is None else wish.seed
    rng = np.random.default_rng((seed, int(model.digest[:8], 16)))
    candidates = pool.candidates.about(wish.about) if wish.about else pool.candidates
    probabilities = inclusion_probabilities(STRATEGIES[wish.strategy](candidates), budget, drawn=drawn)
    picked = rng.permutation(draw(probabilities, rng, drawn=drawn))
    recorded = Draw(
        model=model.digest,
        strategy=wish.words,
        unit=wish.unit,
        budget=wish.budget,
        seed=seed,
        population=len(pool.tasks),
        thinned=pool.thinned,
    )
    return Proposal(draw=recorded, pool=pool, probabilities=probabilities, picked=tuple(picked.tolist()))


def record(store: Store, project: str, proposal: Proposal) -> int:
    """Record a draw in the store; return the batch's id. Raises StoreError where another command drew meanwhile."""
    return store.save_draw(project, proposal.draw, proposal.tasks, _rows(proposal))


def open_batch(store: Store, project: str, model: Model, wish: Wish) -> LabelBatch | None:
    """The newest batch, where it was drawn as wished and still has tasks that wait for a reviewer."""
    batches = store.label_batches(project)
    if not batches or batches[-1].imported:
        return None
    newest = batches[-1]
    drawn = newest.draw
    asked = (model.digest, wish.words, wish.budget, wish.unit)
    if (drawn.model, drawn.strategy, drawn.budget, drawn.unit) != asked or wish.seed not in (None, drawn.seed):
        return None
    counts = store.label_counts(project, newest.id)
    return newest if counts["answered"] < counts.get("drawn", 0) + counts.get("pushed", 0) else None


def _rows(proposal: Proposal) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(proposal.pool.tasks), RECORDED_ROWS):
        some = slice(start, start + RECORDED_ROWS)
        keys = [task.key for task in proposal.pool.tasks[some]]
        yield pa.RecordBatch.from_pydict({"task": keys, "probability": proposal.probabilities[some]}, DRAW)
