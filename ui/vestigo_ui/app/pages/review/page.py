"""Page Review: samples of tasks, progress of annotation, corrections and label sets.

The address holds `project`, `pane`, `attribute` and `page`; `sighting`, a crop, is open for correction.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import accumulate
from shlex import quote

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.resolve import resolve_review_model
from vestigo.review.estimates.progress import ReviewProgress, review_progress
from vestigo.review.label_studio.projects import project_url, task_url
from vestigo.review.labels.corrections import is_corrections_project
from vestigo.store.review.records import LabelProject
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.choice import choose_one, choose_segment
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.components.work import work_button
from vestigo_ui.app.context import PageContext, shared_store
from vestigo_ui.app.pages.review.corrections import show_correct, show_sightings
from vestigo_ui.app.pages.review.sampling import DONE, show_sampling
from vestigo_ui.app.pages.review.server import fetch, progress_bar, send_waiting, show_setup
from vestigo_ui.app.text import count_text, escape_md, format_utc
from vestigo_ui.web.auth.users import Role

PROGRESS, SAMPLE, CORRECT, SETS = "progress", "propose", "correct", "sets"
PANES = {PROGRESS: "Progress", SAMPLE: "Sample", CORRECT: "Correct", SETS: "Label sets"}
CACHED_PROJECTS = 16


def show(context: PageContext) -> None:
    """Show the page."""
    st.title("Review", anchor=False)
    if not context.store.models.crop_counts():
        st.info("The store has no crops yet. Index an archive with `vestigo index SOURCE --store STORE`.")
        return
    model = resolve_review_model(context.store)
    if message := st.session_state.pop(DONE, None):
        st.success(message, icon=":material/check_circle:")
    if crop := url_state.text("sighting"):
        show_correct(context, model, crop)
        return
    # The project of corrections comes last.
    known = sorted(context.store.review.projects(), key=lambda project: is_corrections_project(project.name))
    projects = {project.name: project for project in known}
    project: LabelProject | None = None
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        pane = choose_segment("Show", PANES, "pane", width="content")
        if projects and pane == PROGRESS:
            project = projects[choose_one("Project", list(projects), "project", width=220)]
        else:
            project = projects.get(url_state.one_of("project", projects, next(iter(projects), ""), kind="project"))
    if pane == SAMPLE:
        show_sampling(context, project)
    elif pane == CORRECT:
        show_sightings(context, model)
    elif pane == SETS:
        _show_label_sets(context)
    elif project is None:
        st.info(
            "There are no tasks yet. “Sample” chooses tasks to annotate; “Correct” shows tracklets to correct.",
            icon=":material/rate_review:",
        )
    else:
        _show_progress(context, project)


def _show_label_sets(context: PageContext) -> None:
    sets = context.store.label_sets.list()
    if not sets:
        st.info(
            "There are no label sets yet. `vestigo retrain --store STORE` saves one and trains on it; `vestigo label "
            "export --store STORE` writes one to a file.",
            icon=":material/label:",
        )
        return
    newest = {model.origin.get("label_set"): model.name for model in reversed(context.store.models.list())}
    rows = [
        {
            "Version": label_set.version,
            "Saved (UTC)": format_utc(label_set.created),
            "Labels": label_set.labels,
            "Tasks": label_set.tasks,
            "Projects": ", ".join(label_set.projects),
            "Newest model from it": newest.get(label_set.version),
            "Digest": label_set.digest[:12],
        }
        for label_set in reversed(sets)
    ]
    show_table(context, pd.DataFrame(rows), name="label-sets", title="Label sets")


def _show_progress(context: PageContext, project: LabelProject) -> None:
    """Show a project."""
    counts = context.store.review.task_counts(project.name)
    sampled = sum(counts.get(state, 0) for state in ("drawn", "pushed", "imported"))
    parts = [f"{count_text(sampled, 'task')} sampled", f"{counts['answered']:,} annotated"]
    if waiting := counts.get("drawn", 0):
        parts.append(f"{waiting:,} not on the server yet")
    if deleted := counts.get("deleted", 0):
        parts.append(f"{deleted:,} deleted on the server")
    st.caption(" · ".join(parts))
    st.progress(counts["answered"] / sampled if sampled else 0.0)
    _show_server(context, project, waiting)
    if not sampled:
        st.info("This project has no tasks yet. “Sample” chooses some.", icon=":material/rate_review:")
        return
    progress = _read_progress(context.store.ref, context.store.annotations.version(), project.name, sampled)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**By attribute**")
        show_table(context, by_attribute(progress), name="review-attributes", title="Review by attribute")
        st.markdown("**By sample**")
        show_table(context, by_batch(context, project), name="review-batches", title="Review by sample")
    with right:
        if progress.days:
            charts.show_figure(over_time(progress.days, sampled), key="review-days", alt="Annotated tasks over time")
        _show_agreement(context, project, progress)


@st.cache_data(max_entries=CACHED_PROJECTS, show_spinner="Reading annotations")
def _read_progress(ref: str, version: str, project: str, sampled: int) -> ReviewProgress:
    return review_progress(shared_store(), project)


def by_attribute(progress: ReviewProgress) -> pd.DataFrame:
    """Return one row for each attribute."""
    rows = [
        {
            "Attribute": attribute.title.capitalize(),
            "Annotated": progress.answered.get(attribute.name, 0),
            "Corrected": progress.corrected.get(attribute.name, 0),
            "Cannot tell": progress.cannot_tell.get(attribute.name, 0),
            "Annotated twice": progress.pairs[attribute.name].pairs,
            "Agreed (%)": agreed(progress.pairs[attribute.name].pairs, progress.pairs[attribute.name].differ),
        }
        for attribute in progress.schema.attributes
    ]
    return pd.DataFrame(rows).astype({"Agreed (%)": "float64"})


def agreed(pairs: int, differ: int) -> float | None:
    """Return the percentage of annotation pairs that agree; None without pairs."""
    return 100 * (1 - differ / pairs) if pairs else None


def by_batch(context: PageContext, project: LabelProject) -> pd.DataFrame:
    """Return one row for each sample and import, the newest first."""
    names = {model.digest: model.name for model in context.store.models.list()}
    rows = [
        {
            "Sample": sample.id,
            "Made (UTC)": format_utc(sample.created),
            "Strategy": sample.design.strategy,
            "Tasks": sample.tasks,
            "Annotated": context.store.review.task_counts(project.name, sample.id)["answered"],
            "Population": sample.design.population or None,
            "Model": f"{names.get(sample.design.model, 'unknown')} ({sample.design.model[:8]})",
        }
        for sample in reversed(context.store.review.samples(project.name))
    ]
    columns = ["Sample", "Made (UTC)", "Strategy", "Tasks", "Annotated", "Population", "Model"]
    return pd.DataFrame(rows, columns=columns).astype({"Population": "Int64"})


def over_time(days: Mapping[date, int], sampled: int) -> go.Figure:
    """Return the figure: tasks annotated until each day, and a line at the number of sampled tasks."""
    figure = charts.new_figure(x="Day (UTC)", y="Annotated tasks", height=260, legend=False)
    figure.add_scatter(
        x=list(days),
        y=list(accumulate(days.values())),
        mode="lines+markers",
        line={"shape": "hv", "color": charts.COLOURS[0]},
        hovertemplate="%{x|%Y-%m-%d}: %{y:,}<extra></extra>",
        name="Annotated",
    )
    line = {"dash": "dot", "color": charts.COLOURS[-1]}
    figure.add_hline(y=sampled, line=line, annotation_text=f"{sampled:,} sampled")
    figure.update_xaxes(tickformat="%Y-%m-%d")
    if len(days) == 1:
        (day,) = days
        figure.update_xaxes(tickvals=[day], range=[day - timedelta(days=1), day + timedelta(days=1)])
    figure.update_yaxes(rangemode="tozero")
    return figure


def _show_agreement(context: PageContext, project: LabelProject, progress: ReviewProgress) -> None:
    pairs = sum(pairs.pairs for pairs in progress.pairs.values())
    differ = sum(pairs.differ for pairs in progress.pairs.values())
    st.markdown("**Agreement of annotators**")
    share = agreed(pairs, differ)
    if share is None:
        st.caption("No task has two annotations yet.")
    else:
        st.caption(f"Annotators agree in {share:.1f} % of {pairs:,} pairs of annotations; {differ:,} differ.")
    st.caption(
        ", ".join(f"{escape_md(name)} {count:,}" for name, count in progress.annotators.items())
        or "There are no annotations yet."
    )
    if not progress.conflicts:
        return
    rows = [
        {
            "Task": task.tracklet or task.key[:12],
            "Camera": task.camera,
            "Annotations": str(conflict),
            "Label Studio": task_url(project, task),
            "Sighting": f"/review?sighting={task.crops[0]}",
        }
        for task, conflict in progress.conflicts
    ]
    st.caption(f"{len(rows):,} of {progress.conflict_count:,} conflicts between annotators")
    links = {"Label Studio": "Open", "Sighting": "Look"}
    columns = {name: st.column_config.LinkColumn(display_text=text) for name, text in links.items()}
    frame, title = pd.DataFrame(rows), "Conflicts of annotators"
    show_table(context, frame, name="review-conflicts", title=title, columns=columns)


def _show_server(context: PageContext, project: LabelProject, waiting: int) -> None:
    """Show the server of the project, with buttons for reviewers."""
    if is_corrections_project(project.name):
        st.caption("These are corrections. They are used for training and not for estimates.")
        return
    url = project_url(project)
    if url is not None:
        st.link_button("Open in Label Studio", url, icon=":material/open_in_new:")
    elif not waiting:
        st.caption("This project is on no server; its labels were imported.")
        return
    if not context.may(Role.REVIEWER):
        return
    if context.settings.label_studio is None:
        verb = "push" if url is None else "pull"
        show_setup(f"vestigo label {verb} --store STORE --project {quote(project.name)}")
        return
    place = st.container(horizontal=True, gap="small")
    pulled = sent = None
    if url is not None:
        pulled = work_button(
            "Pull now",
            lambda: fetch(context, project.name, progress_bar("Tasks listed")),
            key="review-pull",
            place=place,
            icon=":material/download:",
            shortcut="Alt+P",
        )
    if waiting:
        sent = work_button(
            f"Send {count_text(waiting, 'waiting task')}",
            lambda: send_waiting(context, project.name, progress_bar("Tasks sent")),
            key="review-send",
            place=place,
            icon=":material/upload:",
        )
    if pulled is not None:
        st.success(
            f"New, changed or deleted: {count_text(pulled.pulled, 'annotation')}. Annotated: {pulled.reviewed:,} of "
            f"{count_text(pulled.tasks, 'task')}. Corrected: {count_text(pulled.corrections, 'value')}."
        )
        if pulled.skipped:
            skipped = count_text(len(pulled.skipped), "annotation")
            st.warning(f"Skipped: {skipped} not of this project's form. The first: {escape_md(pulled.skipped[0])}")
    if sent is not None:
        st.success(f"Sent: {count_text(sent, 'task')}.")
