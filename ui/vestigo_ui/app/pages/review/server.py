"""Exchange of tasks and annotations with the Label Studio server of the settings."""

from functools import partial

import streamlit as st

from vestigo.review.label_studio.client import LabelStudioClient, read_token
from vestigo.review.label_studio.images import open_image_storage, render_task_images
from vestigo.review.label_studio.pull import PullResult, pull
from vestigo.review.label_studio.push import BatchPushResult, push_batch, push_tasks
from vestigo.review.sampling.sample import SamplingRequest, TaskSample
from vestigo.store.models.records import Model
from vestigo_models.errors import ConfigError
from vestigo_models.progress import ProgressCallback
from vestigo_ui.app.context import PageContext
from vestigo_ui.web.auth.users import Role

PATIENCE_S = 10.0


def send(
    context: PageContext,
    project: str,
    model: Model,
    request: SamplingRequest,
    sample: TaskSample,
    sent: ProgressCallback,
) -> BatchPushResult:
    """Record a sample and create its tasks on the server; raises UsageError for viewers, and as `push_batch`."""
    context.require(Role.REVIEWER, "Review")
    with open_client(context) as client:
        return push_batch(
            context.store,
            client,
            project,
            model,
            request,
            open_image_storage("inline"),
            account=context.user.name,
            case=context.case,
            authority=context.authority,
            sample=sample,
            sent=sent,
        )


def send_waiting(context: PageContext, project: str, sent: ProgressCallback) -> int:
    """Create the sampled tasks that the server lacks; return their number. Raises as `send`."""
    context.require(Role.REVIEWER, "Review")
    context.audit("push", project=project, tasks=context.store.review.task_counts(project).get("drawn", 0))
    with open_client(context) as client:
        render = partial(render_task_images, context.store)
        return push_tasks(context.store, client, project, render, open_image_storage("inline"), sent).created


def fetch(context: PageContext, project: str, listed: ProgressCallback) -> PullResult:
    """Replace the store's annotations by those of the server. Raises as `send`."""
    context.require(Role.REVIEWER, "Review")
    with open_client(context) as client:
        return pull(context.store, client, project, listed)


def open_client(context: PageContext) -> LabelStudioClient:
    """Return a client of the server of the settings; raises as `LabelStudioClient.connect`."""
    server = context.settings.label_studio
    if server is None:
        raise ConfigError("No Label Studio server is configured.")
    try:
        token = read_token(server.token_file)
    except ConfigError:
        raise ConfigError(
            "the token of Label Studio cannot be read: the file that `token_file` names in the settings of this "
            "screen must hold it, with mode 0600"
        ) from None
    return LabelStudioClient.connect(server.url, token, patience=PATIENCE_S)


def progress_bar(label: str) -> ProgressCallback:
    """Show a progress bar until all is done; return its callback."""
    bar = st.progress(0.0, text=label)

    def update(done: int, total: int | None) -> None:
        if total is not None and done < total:
            bar.progress(done / total, text=f"{label}: {done:,} of {total:,}")
        else:
            bar.empty()

    return update


def show_setup(command: str) -> None:
    """Show the command to run, and how to configure a server."""
    with st.expander("No Label Studio server is configured", icon=":material/dns:"):
        st.code(command, language="bash")
        st.markdown("To do it here, name the server in the settings of `vestigo ui` (`--config`):")
        st.code('[label_studio]\nurl = "http://127.0.0.1:8080"\ntoken_file = "label-studio.token"', language="toml")
