"""Label Studio as the screen reaches it: what was drawn goes there, what was answered comes back."""

from __future__ import annotations

from functools import partial

import streamlit as st

from vestigo.review.label_studio.client import LabelStudioClient, read_token
from vestigo.review.label_studio.images import open_image_storage, render_task_images
from vestigo.review.label_studio.pull import PullResult, pull
from vestigo.review.label_studio.push import BatchPushResult, push_batch, push_tasks
from vestigo.review.sampling.sample import SamplingRequest, TaskSample
from vestigo.store.models.records import Model
from vestigo_models.errors import ConfigError, UsageError
from vestigo_models.progress import ProgressCallback
from vestigo_ui.app.context import PageContext
from vestigo_ui.web.auth.users import Role

PATIENCE_S = 10.0


def send(
    context: PageContext,
    project: str,
    model: Model,
    wish: SamplingRequest,
    proposal: TaskSample,
    sent: ProgressCallback,
) -> BatchPushResult:
    """Record a proposal and bring its tasks to the server.

    Raises:
        UsageError: the person may not. ConfigError, StoreError, WorkError: as `push_batch`.
    """
    _may(context)
    with connected(context) as studio:
        return push_batch(
            context.store,
            studio,
            project,
            model,
            wish,
            open_image_storage("inline"),
            account=context.user.name,
            case=context.case,
            authority=context.authority,
            sample=proposal,
            sent=sent,
        )


def send_waiting(context: PageContext, project: str, sent: ProgressCallback) -> int:
    """Bring those drawn tasks to the server that it does not have yet; return how many. Raises as `send`."""
    _may(context)
    context.audit("push", project=project, tasks=context.store.review.task_counts(project).get("drawn", 0))
    with connected(context) as studio:
        pictures = partial(render_task_images, context.store)
        return push_tasks(context.store, studio, project, pictures, open_image_storage("inline"), sent).created


def fetch(context: PageContext, project: str, listed: ProgressCallback) -> PullResult:
    """Make the store's answers those of the server. Raises as `send`."""
    _may(context)
    with connected(context) as studio:
        return pull(context.store, studio, project, listed)


def connected(context: PageContext) -> LabelStudioClient:
    """Reach the server that the settings name. Raises ConfigError, WorkError as `Studio.connect`."""
    server = context.settings.label_studio
    if server is None:
        raise ConfigError("no Label Studio server is set up for this screen")
    try:
        token = read_token(server.token_file)
    except ConfigError:
        raise ConfigError(
            "the token of Label Studio cannot be read: the file that `token_file` names in the settings of this "
            "screen must hold it, with mode 0600"
        ) from None
    return LabelStudioClient.connect(server.url, token, patience=PATIENCE_S)


def bar(label: str) -> ProgressCallback:
    """Show progress until all is done; the callback takes what is done and what there is in all."""
    shown = st.progress(0.0, text=label)

    def update(done: int, total: int | None) -> None:
        if total is not None and done < total:
            shown.progress(done / total, text=f"{label}: {done:,} of {total:,}")
        else:
            shown.empty()

    return update


def how_to_set_up(command: str) -> None:
    """Say what to run, and how the screen gets a server to push to."""
    with st.expander("No Label Studio server is set up for this screen", icon=":material/dns:"):
        st.markdown(
            f"On the command line `{command}` does it. To do it here, name the server in the settings of "
            "`vestigo ui` (`--config`):"
        )
        st.code('[label_studio]\nurl = "http://127.0.0.1:8080"\ntoken_file = "label-studio.token"', language="toml")


def _may(context: PageContext) -> None:
    if not context.may(Role.REVIEWER):
        raise UsageError(f"{context.user.name} may look and not review: ask an administrator for the role reviewer")
