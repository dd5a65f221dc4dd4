"""The Label Studio project of a store's project: found by a mark in its description, or created once."""

import hashlib
from contextlib import suppress
from datetime import UTC
from functools import partial
from itertools import count
from typing import Any

from vestigo.review.label_studio.client import LabelStudioClient, NotFoundError
from vestigo.review.label_studio.form import build_form, form_problem
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.review.records import LabelProject, LabelTask
from vestigo_models.errors import ConfigError

MIN_TITLE, MAX_TITLE = 3, 50  # Label Studio's limits, in characters
INSTRUCTION = (
    "Each attribute shows the model's prediction with its confidence; its value is selected already. "
    f"Correct wrong values, select <b>{CANNOT_TELL}</b> where the images do not show it, and submit. "
    "The hotkeys are shown next to the values."
)


def project_mark(project: LabelProject) -> str:
    """Return the word in a description that identifies the project and its store."""
    identity = f"{project.name}\n{project.created.astimezone(UTC).isoformat()}"
    return f"vestigo:{hashlib.sha256(identity.encode()).hexdigest()[:20]}"


def project_title(project: LabelProject) -> str:
    """Return the title in Label Studio: the name, within the limits of length."""
    title = project.name if len(project.name) >= MIN_TITLE else f"Vestigo {project.name}"
    return title[:MAX_TITLE].strip()


def open_project(client: LabelStudioClient, project: LabelProject) -> int:
    """Return the id of the server's project; it is created if the store has never had one there.

    If a repeated request created it twice, the first with tasks is kept, else the first.

    Raises:
        ConfigError: If the project is on another server or deleted, its title is taken, or its form asks for something
            else. Nothing is written in these cases.
    """
    if project.remote_id is not None:
        return find_project(client, project)
    # Each attempt first looks for the result of the one before.
    projects: list[Any] = client.call(lambda: _own_projects(client, project) or [_create(client, project)])
    first = min(projects, key=lambda remote: (not remote.task_number, remote.id))
    _require_form(client, project, first)
    _remove_duplicates(client, project, first.id)
    return int(first.id)


def find_project(client: LabelStudioClient, project: LabelProject) -> int:
    """Return the id of a project that was pushed before; raise ConfigError as `open_project`."""
    if project.remote_id is None or project.server is None:
        raise ConfigError(f"project {project.name} is on no server yet: `vestigo label push` creates it there")
    remote_id, remote = project.remote_id, None
    with suppress(NotFoundError):
        remote = client.call(partial(client.sdk.projects.get, remote_id))
    if remote is None or project_mark(project) not in (remote.description or ""):
        if project.server != client.url:
            raise ConfigError(
                f"project {project.name} is on server {project.server}, not on {client.url}: name that server (--url), "
                "or another --project"
            )
        raise ConfigError(
            f"project {project.name} (id {remote_id}) is no longer on server {client.url}, or its description lost "
            f"the word {project_mark(project)}: put the word back, or push under another --project; what was pulled is "
            "kept"
        )
    _require_form(client, project, remote)
    _remove_duplicates(client, project, remote_id)
    return remote_id


def preselect_predictions(client: LabelStudioClient, remote_id: int, version: str) -> None:
    """Let the server preselect the predictions of a model version; it does so for one version at a time.

    Tasks of other models still show their predictions as text. The server refuses a version without tasks, which needs
    no selection.
    """
    remote: Any = client.call(partial(client.sdk.projects.get, remote_id))
    if remote.model_version != version:
        with suppress(ConfigError):
            client.call(partial(client.sdk.projects.update, remote_id, model_version=version))


def project_url(project: LabelProject) -> str | None:
    """Return the address of a project; None if no server has it."""
    if project.server is None or project.remote_id is None:
        return None
    return f"{project.server}/projects/{project.remote_id}/data"


def task_url(project: LabelProject, task: LabelTask) -> str | None:
    """Return the address of a task; None if no server has it."""
    url = project_url(project)
    return None if url is None or task.remote_id is None else f"{url}?task={task.remote_id}"


def _own_projects(client: LabelStudioClient, project: LabelProject) -> list[Any]:
    """Return the projects with the title and the mark; refuse a title that only other projects have."""
    title = project_title(project)
    same: list[Any] = []
    for page in count(1):
        listed: Any = client.call(partial(client.sdk.projects.list, title=title, page=page, page_size=100))
        same += [remote for remote in listed.items or () if remote.title == title]
        if not listed.response.next:
            break
    own = [remote for remote in same if project_mark(project) in (remote.description or "")]
    if same and not own and project.remote_id is None:
        raise ConfigError(
            f"server {client.url} has a project {title} (id {same[0].id}) that is not of this store: "
            "push under another --project"
        )
    return own


def _create(client: LabelStudioClient, project: LabelProject) -> Any:
    return client.sdk.projects.create(
        title=project_title(project),
        description=f"Attributes of people, reviewed for Vestigo. Leave this word as it is: {project_mark(project)}",
        label_config=build_form(project.schema),
        expert_instruction=INSTRUCTION,
        show_instruction=True,
        show_skip_button=True,
        enable_empty_annotation=False,
        show_collab_predictions=True,
        maximum_annotations=1,
        sampling="Sequential sampling",
    )


def _remove_duplicates(client: LabelStudioClient, project: LabelProject, kept: int) -> None:
    """Delete the other projects that a repeated request created, if they have no tasks."""
    for remote in _own_projects(client, project):
        if remote.id != kept and not remote.task_number:
            with suppress(NotFoundError):
                if not client.call(partial(client.sdk.projects.get, remote.id)).task_number:
                    client.call(partial(client.sdk.projects.delete, remote.id))


def _require_form(client: LabelStudioClient, project: LabelProject, remote: Any) -> None:
    if problem := form_problem(project.schema, remote.label_config or ""):
        raise ConfigError(
            f"the form of project {project.name} (id {remote.id}) on server {client.url} does not match the store "
            f"({problem}): undo it under Settings > Labeling Interface, or push under another --project"
        )
