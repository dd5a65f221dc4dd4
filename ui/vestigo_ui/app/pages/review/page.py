"""Page Review: samples of tasks, progress of annotation, corrections and label sets.

The address holds `project`, `pane`, `attribute` and `page`; `sighting`, a crop, is open for correction.
"""

import pandas as pd
import streamlit as st

from vestigo.resolve import resolve_review_model
from vestigo.review.labels.corrections import is_corrections_project
from vestigo.store.review.records import LabelProject
from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.components.tables import show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.review.corrections import show_correct, show_sightings
from vestigo_ui.app.pages.review.progress import show_progress
from vestigo_ui.app.pages.review.sampling import DONE, show_sampling
from vestigo_ui.app.text import format_utc

PROGRESS, SAMPLE, CORRECT, SETS = "progress", "propose", "correct", "sets"
PANES = {PROGRESS: "Progress", SAMPLE: "Sample", CORRECT: "Correct", SETS: "Label sets"}


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
        pane = choose_one("Show", PANES, "pane", widget=st.segmented_control, width="content")
        if projects and pane == PROGRESS:
            project = projects[choose_one("Project", list(projects), "project", width=220)]
        elif projects:
            project = projects[url_state.one_of("project", projects, next(iter(projects)), kind="project")]
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
        show_progress(context, project)


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
