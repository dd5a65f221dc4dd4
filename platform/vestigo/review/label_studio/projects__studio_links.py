"""Where a person finds a project and a task of the store on its Label Studio server."""

from __future__ import annotations

from vestigo.store.review.records import LabelProject, LabelTask


def project_link(project: LabelProject) -> str | None:
    """The address of a project; None where no server has it."""
    if project.server is None or project.remote_id is None:
        return None
    return f"{project.server}/projects/{project.remote_id}/data"


def task_link(project: LabelProject, task: LabelTask) -> str | None:
    """The address of a task of a project; None where no server has it."""
    there = project_link(project)
    return None if there is None or task.remote_id is None else f"{there}?task={task.remote_id}"
