"""What several reviewers of one task say together: what more than half of them say, or a conflict with names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from vestigo.review.label_studio.form import CANNOT_TELL
from vestigo.store.open import Store
from vestigo.store.review.records import LabelAnswer, LabelTask
from vestigo_models.schemas.attributes import AttributeSchema


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


@dataclass(frozen=True, kw_only=True)
class ReviewedTask:
    """A task with at least one answer.

    Attributes:
        said: reviewer to attribute to answer; of several answers of one reviewer, the newest.
        agreed: what they say together.
        answered: when the newest answer was given.
    """

    task: LabelTask
    said: dict[str, dict[str, str]]
    agreed: Agreed
    answered: datetime

    def corrections(self, schema: AttributeSchema) -> dict[str, tuple[str, str]]:
        """Attribute to (predicted, agreed) where they differ; "cannot tell" corrects nothing."""
        found = {}
        for name, value in self.agreed.answers.items():
            said = predicted_value(schema, name, self.task.prediction)[0]
            if value not in (said, CANNOT_TELL):
                found[name] = (said, value)
        return found


def reviewed_tasks(store: Store, project: str) -> Iterator[ReviewedTask]:
    """Yield the tasks of a project that have an answer, in order of batch and position; memory is one page."""
    for page in store.review.tasks(project):
        answers = store.annotations.get(project, [task.key for task in page])
        yield from (_reviewed(task, answers[task.key]) for task in page if task.key in answers)


def predicted_value(schema: AttributeSchema, name: str, prediction: tuple[float, ...]) -> tuple[str, float]:
    """The likeliest value of an attribute, the first of equal ones, and its probability; `prediction` is (M,)."""
    shares = prediction[schema.slice(name)]
    best = max(shares)
    return schema[name].values[shares.index(best)], best


def known_labels(store: Store, schema: AttributeSchema) -> dict[str, dict[str, str]]:
    """Crop id to attribute to value, of all that reviewers and imports say in projects that ask the same."""
    found: dict[str, dict[str, str]] = {}
    for project in store.review.projects():
        if project.schema != schema:
            continue
        for reviewed in reviewed_tasks(store, project.name):
            told = {name: value for name, value in reviewed.agreed.answers.items() if value != CANNOT_TELL}
            for crop in reviewed.task.crops:
                found.setdefault(crop, {}).update(told)
    return found


def _reviewed(task: LabelTask, answers: tuple[LabelAnswer, ...]) -> ReviewedTask:
    newest: dict[str, LabelAnswer] = {}
    for answer in sorted(answers, key=lambda answer: (answer.answered, answer.remote_id)):
        newest[answer.reviewer] = answer
    said = {reviewer: dict(answer.answers) for reviewer, answer in newest.items()}
    return ReviewedTask(task=task, said=said, agreed=agree(said), answered=max(a.answered for a in newest.values()))
