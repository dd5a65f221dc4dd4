"""What several reviewers of one task say together: what more than half of them say, or a conflict with names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Conflict:
    """An attribute on which no answer has more than half of the reviewers; `said` is reviewer to answer."""

    attribute: str
    said: Mapping[str, str]

    def __str__(self) -> str:
        """One line: `hat: no (ana), yes (ben)`."""
        by_answer: dict[str, list[str]] = {}
        for reviewer, answer in self.said.items():
            by_answer.setdefault(answer, []).append(reviewer)
        answers = (f"{answer} ({', '.join(sorted(who))})" for answer, who in sorted(by_answer.items()))
        return f"{self.attribute}: {', '.join(answers)}"


@dataclass(frozen=True)
class Agreed:
    """What reviewers say together.

    Attributes:
        answers: attribute to answer where more than half agree.
        margins: attribute to how many more votes its answer has than all others together, 1 or more.
        conflicts: where they do not agree.
    """

    answers: Mapping[str, str]
    margins: Mapping[str, int]
    conflicts: tuple[Conflict, ...]


def agree(said: Mapping[str, Mapping[str, str]]) -> Agreed:
    """Put together what each reviewer answered: reviewer to attribute to answer; the order does not matter.

    Who left an attribute open has no vote on it. "Cannot tell" is an answer like the others.
    """
    answers: dict[str, str] = {}
    margins: dict[str, int] = {}
    conflicts = []
    for attribute in sorted({name for one in said.values() for name in one}):
        votes = {reviewer: one[attribute] for reviewer, one in sorted(said.items()) if attribute in one}
        answer, count = Counter(votes.values()).most_common(1)[0]
        if 2 * count > len(votes):
            answers[attribute] = answer
            margins[attribute] = 2 * count - len(votes)
        else:
            conflicts.append(Conflict(attribute, votes))
    return Agreed(answers, margins, tuple(conflicts))
