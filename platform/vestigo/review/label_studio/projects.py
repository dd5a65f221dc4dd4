"""The project that a server has for one of the store: found again by a mark in its description, or made, once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC
from functools import partial
from itertools import count
from typing import Any

from vestigo.review.label_studio.client import Gone, Studio
from vestigo.review.label_studio.form import form, form_problem
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.review.records import LabelProject, LabelTask
from vestigo_models.errors import ConfigError

SHORTEST, LONGEST = 3, 50
INSTRUCTION = (
    "Each attribute shows what the model says and how sure it is; its value is chosen already. "
    "Correct what is wrong, choose "
    f"<b>{CANNOT_TELL}</b> where the pictures do not show it, and submit. The keys stand beside the values."
)


def mark(project: LabelProject) -> str:
    """The word in a description that says which project of which store it is."""
    told = f"{project.name}\n{project.created.astimezone(UTC).isoformat()}"
    return f"vestigo:{hashlib.sha256(told.encode()).hexdigest()[:20]}"


def title(project: LabelProject) -> str:
    """What Label Studio calls a project: its name, brought to the 3 to 50 characters that are wanted there."""
    named = project.name if len(project.name) >= SHORTEST else f"Vestigo {project.name}"
    return named[:LONGEST].strip()


def open_project(studio: Studio, project: LabelProject) -> int:
    """Return the id of the server's project; it is made where the store has never had one there.

    Made twice, by a request that the network repeated, only one stays: the first that holds tasks, else the first.

    Raises:
        ConfigError: the store has it on another server; it was deleted there; its title is taken; its form was changed
            so that it asks for something else. Nothing has been written then.
    """
    if project.remote_id is not None:
        return find_project(studio, project)
    # Each try of the creation looks first what became of the one before.
    found: list[Any] = studio.call(lambda: _ours(studio, project) or [_create(studio, project)])
    first = min(found, key=lambda one: (not one.task_number, one.id))
    _require_form(studio, project, first)
    _remove_twins(studio, project, first.id)
    return int(first.id)


def find_project(studio: Studio, project: LabelProject) -> int:
    """Return the id of a project that was pushed before. Raises ConfigError as `open_project`."""
    if project.remote_id is None or project.server is None:
        raise ConfigError(f"project {project.name} is on no server yet: `vestigo label push` brings it there")
    remote_id = project.remote_id
    there: Any = None
    with suppress(Gone):
        there = studio.call(partial(studio.client.projects.get, remote_id))
    if there is None or mark(project) not in (there.description or ""):
        if project.server != studio.url:
            raise ConfigError(
                f"project {project.name} is on server {project.server}, not on {studio.url}: name that server (--url), "
                "or another --project"
            )
        raise ConfigError(
            f"project {project.name} (id {remote_id}) is no longer on server {studio.url}, or its description lost "
            f"the word {mark(project)}: put the word back, or push under another --project; what was pulled is kept"
        )
    _require_form(studio, project, there)
    _remove_twins(studio, project, remote_id)
    return remote_id


def preselect(studio: Studio, remote_id: int, version: str) -> None:
    """Let the server choose beforehand what predictions of `version` say; it does so for one version at a time.

    Tasks with predictions of other models still show what those say in words. A version that no task there has any more
    is refused by the server, and there is nothing to choose.
    """
    there: Any = studio.call(partial(studio.client.projects.get, remote_id))
    if there.model_version != version:
        with suppress(ConfigError):
            studio.call(partial(studio.client.projects.update, remote_id, model_version=version))


def _ours(studio: Studio, project: LabelProject) -> list[Any]:
    """All projects of that title with our mark. Raises ConfigError where there are only others."""
    same = [one for one in _titled(studio, title(project)) if one.title == title(project)]
    ours = [one for one in same if mark(project) in (one.description or "")]
    if same and not ours and project.remote_id is None:
        raise ConfigError(
            f"server {studio.url} has a project {title(project)} (id {same[0].id}) that is not of this store: "
            "push under another --project"
        )
    return ours


def _titled(studio: Studio, part: str) -> Iterator[Any]:
    """All projects whose titles hold `part`; each page is a request that is repeated by itself."""
    for page in count(1):
        listed: Any = studio.call(partial(studio.client.projects.list, title=part, page=page, page_size=100))
        yield from listed.items or ()
        if not listed.response.next:
            return


def _create(studio: Studio, project: LabelProject) -> Any:
    return studio.client.projects.create(
        title=title(project),
        description=f"Attributes of people, reviewed for Vestigo. Leave this word as it is: {mark(project)}",
        label_config=form(project.schema),
        expert_instruction=INSTRUCTION,
        show_instruction=True,
        show_skip_button=True,
        enable_empty_annotation=False,
        show_collab_predictions=True,
        maximum_annotations=1,
        sampling="Sequential sampling",
    )


def _remove_twins(studio: Studio, project: LabelProject, kept: int) -> None:
    """Remove what a repeated request made beside our project; tasks are never removed with it."""
    for one in _ours(studio, project):
        if one.id != kept and not one.task_number:
            with suppress(Gone):
                if not studio.call(partial(studio.client.projects.get, one.id)).task_number:
                    studio.call(partial(studio.client.projects.delete, one.id))


def _require_form(studio: Studio, project: LabelProject, there: Any) -> None:
    if problem := form_problem(project.schema, there.label_config or ""):
        raise ConfigError(
            f"project {project.name} (id {there.id}) of server {studio.url} asks for other things than the store knows "
            f"({problem}): undo it under Settings > Labeling Interface, or push under another --project"
        )


def project_link(project: LabelProject) -> str | None:
    """The address of a project; None where no server has it."""
    if project.server is None or project.remote_id is None:
        return None
    return f"{project.server}/projects/{project.remote_id}/data"


def task_link(project: LabelProject, task: LabelTask) -> str | None:
    """The address of a task of a project; None where no server has it."""
    there = project_link(project)
    return None if there is None or task.remote_id is None else f"{there}?task={task.remote_id}"
