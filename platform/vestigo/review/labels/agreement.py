"""Consensus of the annotators of a task: the value of more than half of them, or a conflict."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from vestigo.store.open import Store
from vestigo.store.review.records import Annotation, LabelTask
from vestigo_models.schemas.attributes import CANNOT_TELL as CANNOT_TELL
from vestigo_models.schemas.attributes import AttributeSchema


@dataclass(frozen=True)
class Conflict:
    """An attribute for which no value has more than half of the annotators; `values` is annotator to value."""

    attribute: str
    values: Mapping[str, str]

    def __str__(self) -> str:
        """One line: `hat: no (ana), yes (ben)`."""
        annotators: dict[str, list[str]] = {}
        for annotator, value in self.values.items():
            annotators.setdefault(value, []).append(annotator)
        values = (f"{value} ({', '.join(sorted(names))})" for value, names in sorted(annotators.items()))
        return f"{self.attribute}: {', '.join(values)}"


@dataclass(frozen=True)
class Consensus:
    """What the annotators of a task agree on."""

    labels: Mapping[str, str]  # attribute to the value that more than half of the annotators gave
    margins: Mapping[str, int]  # attribute to the votes of its label minus all other votes, at least 1
    conflicts: tuple[Conflict, ...]  # attributes without such a value


def find_consensus(annotations: Mapping[str, Mapping[str, str]]) -> Consensus:
    """Find the consensus of annotations: annotator to attribute to value.

    An annotator without a value for an attribute has no vote on it. "Cannot tell" is a value like the others.
    """
    labels: dict[str, str] = {}
    margins: dict[str, int] = {}
    conflicts = []
    for attribute in sorted({name for values in annotations.values() for name in values}):
        votes = {name: values[attribute] for name, values in sorted(annotations.items()) if attribute in values}
        value, count = Counter(votes.values()).most_common(1)[0]
        if 2 * count > len(votes):
            labels[attribute] = value
            margins[attribute] = 2 * count - len(votes)
        else:
            conflicts.append(Conflict(attribute, votes))
    return Consensus(labels, margins, tuple(conflicts))


@dataclass(frozen=True, kw_only=True)
class AnnotatedTask:
    """A task with at least one annotation."""

    task: LabelTask
    annotations: dict[str, dict[str, str]]  # annotator to attribute to value; the newest annotation of each annotator
    consensus: Consensus
    updated: datetime  # time of the newest annotation

    def corrections(self, schema: AttributeSchema) -> dict[str, tuple[str, str]]:
        """Return attribute to (predicted value, label) where they differ; "cannot tell" is no correction."""
        corrections = {}
        for name, label in self.consensus.labels.items():
            predicted = predicted_value(schema, name, self.task.prediction)[0]
            if label not in (predicted, CANNOT_TELL):
                corrections[name] = (predicted, label)
        return corrections


def annotated_tasks(store: Store, project: str) -> Iterator[AnnotatedTask]:
    """Yield the annotated tasks of a project in order of batch and position; memory is one page."""
    for page in store.review.tasks(project):
        annotations = store.annotations.get(project, [task.key for task in page])
        yield from (_annotated_task(task, annotations[task.key]) for task in page if task.key in annotations)


def predicted_value(schema: AttributeSchema, name: str, prediction: tuple[float, ...]) -> tuple[str, float]:
    """Return the most likely value of an attribute (the first of equal ones) and its probability."""
    shares = prediction[schema.slice(name)]
    best = max(shares)
    return schema[name].values[shares.index(best)], best


def known_labels(store: Store, schema: AttributeSchema) -> dict[str, dict[str, str]]:
    """Return crop id to attribute to label, from all projects with this schema."""
    labels: dict[str, dict[str, str]] = {}
    for project in store.review.projects():
        if project.schema != schema:
            continue
        for annotated in annotated_tasks(store, project.name):
            values = {name: label for name, label in annotated.consensus.labels.items() if label != CANNOT_TELL}
            for crop in annotated.task.crops:
                labels.setdefault(crop, {}).update(values)
    return labels


def _annotated_task(task: LabelTask, annotations: tuple[Annotation, ...]) -> AnnotatedTask:
    newest: dict[str, Annotation] = {}
    for annotation in sorted(annotations, key=lambda annotation: (annotation.answered, annotation.remote_id)):
        newest[annotation.annotator] = annotation
    values = {annotator: dict(annotation.answers) for annotator, annotation in newest.items()}
    updated = max(annotation.answered for annotation in newest.values())
    return AnnotatedTask(task=task, annotations=values, consensus=find_consensus(values), updated=updated)
