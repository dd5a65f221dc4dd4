"""Why a task was drawn, in words: how likely that was, and the attribute that raised its score most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vestigo.review.sampling.proposal import Proposal, Wish
from vestigo.review.sampling.strategies import BY_ATTRIBUTE, Candidates
from vestigo.store.review.records import NewTask


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a task is proposed.

    Attributes:
        probability: how likely it was drawn.
        attribute: the one that added most to its score, None where a strategy does not go by attributes or nothing did.
        words: such as `colour in doubt: red 41 %`.
    """

    task: NewTask
    probability: float
    attribute: str | None
    words: str


EXPLAINED: Mapping[str, str] = {
    "random": "Every task has the same chance.",
    "entropy": "First where the model wavers between values, over all attributes together.",
    "least-confident": "First where the model is least sure of the value that it gives.",
    "disagreement": "First where the pictures of one person say different things.",
    "neighbours": "First who is said to wear something else than people who look alike.",
    "label-errors": "First where the model speaks against a label: likely a mistake of one of them.",
    "rare": "First what is seldom seen in the archive.",
    "diverse": "People who look different from one another.",
    "mix": "Doubt, disagreement and rarity in equal shares.",
}
"""What each strategy draws by, for whoever chooses one; `vestigo.review.sampling.strategies` has the formulas."""


def reasons(proposal: Proposal, wish: Wish) -> list[Reason]:
    """Say of each task that was drawn, in the order of review, why.

    Half of a draw is chance, so that a task may be there in spite of what is said.
    """
    candidates = proposal.pool.candidates
    asked = candidates.about(wish.about) if wish.about else candidates
    picked = proposal.picked
    score = BY_ATTRIBUTE.get(wish.strategy)
    scores = None if score is None or not picked else score(asked)[:, list(picked)]
    found = []
    for place, (row, task) in enumerate(zip(picked, proposal.tasks, strict=True)):
        attribute, words = None, ALIKE if wish.strategy == "diverse" else CHANCE
        if scores is not None and scores[:, place].any():
            attribute = asked.schema.names[int(scores[:, place].argmax())]
            words = _words(wish.strategy, asked, attribute, row)
        probability = float(proposal.probabilities[row])
        found.append(Reason(task=task, probability=probability, attribute=attribute, words=words))
    return found


CHANCE, ALIKE = "by chance", "few look like this"


def _words(strategy: str, candidates: Candidates, name: str, row: int) -> str:
    schema = candidates.schema
    title, values = schema[name].title, schema[name].values
    shares = candidates.probabilities[row, schema.slice(name)].tolist()
    said = f"{values[shares.index(max(shares))]} {max(shares):.0%}"
    if strategy == "disagreement":
        votes: Sequence[float] = candidates.votes[row, schema.slice(name)].tolist()
        return f"its pictures differ about {title}: {values[votes.index(max(votes))]} in {max(votes):.0%}"
    if strategy == "neighbours":
        return f"look-alikes differ in {title}: {said} here"
    if strategy == "label-errors":
        label = int(candidates.labels[row, schema.index(name)])
        return f"{title} is labelled {values[label]}, the model says {said}"
    if strategy == "rare":
        return f"{title} {said} is rare"
    return f"{title} in doubt: {said}" if strategy != "mix" else f"{title} in doubt or rare: {said}"
