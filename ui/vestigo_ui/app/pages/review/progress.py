"""How far the review of a project is: asked and answered, by attribute, batch and day, and where reviewers differ."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import accumulate

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.review.estimates.progress import ReviewProgress, review_progress
from vestigo.review.label_studio.projects import project_url, task_url
from vestigo.review.labels.corrections import is_corrections_project
from vestigo.store.review.records import LabelProject
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext, shared_store
from vestigo_ui.app.pages.review.server import bar, fetch, how_to_set_up, send_waiting
from vestigo_ui.app.text import count_text, escape_md, format_utc
from vestigo_ui.web.auth.users import Role

HELD = 16
"""Projects whose progress is remembered."""


def show_progress(context: PageContext, project: LabelProject) -> None:
    """Show a project."""
    counts = context.store.review.task_counts(project.name)
    asked = sum(counts.get(state, 0) for state in ("drawn", "pushed", "imported"))
    told = [f"{count_text(asked, 'task')} asked", f"{counts['answered']:,} answered"]
    if waiting := counts.get("drawn", 0):
        told.append(f"{waiting:,} not on the server yet")
    if deleted := counts.get("deleted", 0):
        told.append(f"{deleted:,} deleted on the server")
    st.caption(" · ".join(told))
    st.progress(counts["answered"] / asked if asked else 0.0)
    _server(context, project, waiting)
    if not asked:
        st.info("Nothing was asked yet in this project: “Propose” draws tasks.", icon=":material/rate_review:")
        return
    found = _progress(context.store.ref, context.store.annotations.version(), project.name, asked)
    left, right = st.columns(2, gap="medium")
    percent = st.column_config.NumberColumn(format="%.1f")
    with left:
        st.markdown("**By attribute**")
        frame = by_attribute(found)
        columns = {name: percent for name in frame.columns if name.endswith("(%)")}
        show_table(context, frame, name="review-attributes", title="Review by attribute", columns=columns)
        st.markdown("**By batch**")
        show_table(context, by_batch(context, project), name="review-batches", title="Review by batch")
    with right:
        if found.days:
            charts.show_figure(over_time(found.days, asked), key="review-days", alt="Answered tasks over time")
        _agreement(context, project, found)


@st.cache_data(max_entries=HELD, show_spinner="Reading the answers")
def _progress(ref: str, version: str, project: str, asked: int) -> ReviewProgress:
    return review_progress(shared_store(), project)


def by_attribute(found: ReviewProgress) -> pd.DataFrame:
    """A row for each attribute."""
    rows = [
        {
            "Attribute": one.title.capitalize(),
            "Answered": found.answered.get(one.name, 0),
            "Corrected": found.corrected.get(one.name, 0),
            "Cannot tell": found.cannot_tell.get(one.name, 0),
            "Answered twice": found.pairs[one.name].pairs,
            "Agreed (%)": agreed(found.pairs[one.name].pairs, found.pairs[one.name].differ),
        }
        for one in found.schema.attributes
    ]
    return pd.DataFrame(rows).astype({"Agreed (%)": "float64"})


def agreed(pairs: int, differ: int) -> float | None:
    """In percent of pairs of answers, how many say the same; None without any."""
    return 100 * (1 - differ / pairs) if pairs else None


def by_batch(context: PageContext, project: LabelProject) -> pd.DataFrame:
    """A row for each draw and import, the newest first."""
    names = {model.digest: model.name for model in context.store.models.list()}
    rows = [
        {
            "Batch": batch.id,
            "Made (UTC)": format_utc(batch.created),
            "Drawn by": batch.design.strategy,
            "Tasks": batch.tasks,
            "Answered": context.store.review.task_counts(project.name, batch.id)["answered"],
            "Of": batch.design.population or None,
            "Model": f"{names.get(batch.design.model, 'unknown')} ({batch.design.model[:8]})",
        }
        for batch in reversed(context.store.review.samples(project.name))
    ]
    columns = ["Batch", "Made (UTC)", "Drawn by", "Tasks", "Answered", "Of", "Model"]
    return pd.DataFrame(rows, columns=columns).astype({"Of": "Int64"})


def over_time(days: Mapping[date, int], asked: int) -> go.Figure:
    """The figure: tasks answered until each day, below those that were asked."""
    made = charts.new_figure(x="Day (UTC)", y="Tasks answered", height=260)
    made.add_scatter(
        x=list(days),
        y=list(accumulate(days.values())),
        mode="lines+markers",
        line={"shape": "hv", "color": charts.COLOURS[0]},
        hovertemplate="%{x|%Y-%m-%d}: %{y:,}<extra></extra>",
        name="Answered",
    )
    made.add_hline(y=asked, line={"dash": "dot", "color": charts.COLOURS[-1]}, annotation_text=f"{asked:,} asked")
    made.update_layout(showlegend=False)
    made.update_xaxes(tickformat="%Y-%m-%d")
    if len(days) == 1:
        (day,) = days
        made.update_xaxes(tickvals=[day], range=[day - timedelta(days=1), day + timedelta(days=1)])
    made.update_yaxes(rangemode="tozero")
    return made


def _agreement(context: PageContext, project: LabelProject, found: ReviewProgress) -> None:
    pairs = sum(one.pairs for one in found.pairs.values())
    differ = sum(one.differ for one in found.pairs.values())
    st.markdown("**Agreement between reviewers**")
    share = agreed(pairs, differ)
    if share is None:
        st.caption("No task was answered by two reviewers yet.")
    else:
        st.caption(f"Two reviewers agree in {share:.1f} % of {pairs:,} answers given twice; {differ:,} differ.")
    st.caption(
        ", ".join(f"{escape_md(who)} {count:,}" for who, count in found.annotators.items()) or "Nobody answered yet."
    )
    if not found.conflicts:
        return
    rows = [
        {
            "Task": task.tracklet or task.key[:12],
            "Camera": task.camera,
            "Said": str(conflict),
            "Label Studio": task_url(project, task),
            "Sighting": f"/review?sighting={task.crops[0]}",
        }
        for task, conflict in found.conflicts
    ]
    st.caption(f"{len(rows):,} of {found.conflict_count:,} questions on which a task's reviewers do not agree")
    show_table(
        context,
        pd.DataFrame(rows),
        name="review-conflicts",
        title="Conflicts of reviewers",
        columns={
            "Label Studio": st.column_config.LinkColumn(display_text="Open"),
            "Sighting": st.column_config.LinkColumn(display_text="Look"),
        },
    )


def _server(context: PageContext, project: LabelProject, waiting: int) -> None:
    """Where the project is, and what a reviewer may do about it."""
    if is_corrections_project(project.name):
        st.caption("These tracklets were corrected in place. They are learnt from, and take no part in precision.")
        return
    there = project_url(project)
    if there is not None:
        st.link_button("Open in Label Studio", there, icon=":material/open_in_new:")
    elif not waiting:
        st.caption("This project is on no server: its labels were imported.")
        return
    if not context.may(Role.REVIEWER):
        return
    if context.settings.label_studio is None:
        verb = "push" if there is None else "pull"
        how_to_set_up(f"vestigo label {verb} --store STORE --project {project.name}")
        return
    with st.container(horizontal=True, gap="small"):
        pulled = there is not None and st.button(
            "Pull now", key="review-pull", icon=":material/download:", shortcut="Alt+P"
        )
        pushed = waiting and st.button(
            f"Send {count_text(waiting, 'waiting task')}", key="review-send", icon=":material/upload:"
        )
    if pulled:
        found = fetch(context, project.name, bar("Tasks listed"))
        st.success(
            f"New, changed or gone: {count_text(found.pulled, 'answer')}. Reviewed: {found.reviewed:,} of "
            f"{count_text(found.tasks, 'task')}. Corrected: {count_text(found.corrections, 'value')}."
        )
    if pushed:
        st.success(f"Sent: {count_text(send_waiting(context, project.name, bar('Tasks sent')), 'task')}.")
