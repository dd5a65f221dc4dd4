"""Page Attributes: how right the model is about what it says of people, from what was reviewed, and what is behind."""

from __future__ import annotations

import streamlit as st

from vestigo.store.models.records import Model
from vestigo_ui.app import url_state
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes.confusion import show_confusion
from vestigo_ui.app.pages.attributes.curve import coverage, show_curve, slider
from vestigo_ui.app.pages.attributes.overview import show_overview
from vestigo_ui.app.pages.attributes.reviews import Reviews, reviews
from vestigo_ui.app.pages.attributes.selection import View, cells, chosen
from vestigo_ui.app.pages.attributes.sheet import show_archive, show_cell, show_distribution
from vestigo_ui.app.pages.attributes.split import show_split


def show(context: PageContext) -> None:
    """Show the page."""
    st.title("Attributes", anchor=False)
    models = _models(context)
    if not models:
        return
    view = chosen(context, models)
    # What the index tells is there at once; reviews of a large archive take a moment when they are read first.
    above, detail, below = st.container(), st.container(), st.container()
    cell = url_state.one_of("cell", cells(view.attribute), "")
    if not cell:
        with below:
            show_archive(context, view)
    with above:
        known = reviews(context, view)
        _told(known, view)
        show_overview(context, view, known)
    with detail:
        _detail(context, view, known, cell)
    if cell:
        with below:
            if known.sample is None:
                show_archive(context, view)
            else:
                show_cell(context, view, known.sample, cell)


def _models(context: PageContext) -> list[Model]:
    if not context.store.models.crop_counts():
        st.info("The archive is empty. Fill it with `vestigo index SOURCE --store STORE`.", icon=":material/info:")
        return []
    models = [model for model in context.store.models.with_crops() if model.facts.attributes is not None]
    if not models:
        st.info(
            "The model that the archive was indexed with predicts no attributes. Index it with one that does: "
            "`vestigo index SOURCE --store STORE --model MODEL`.",
            icon=":material/info:",
        )
    return models


def _told(known: Reviews, view: View) -> None:
    """In a sentence, what the numbers rest on."""
    sample = known.sample
    if sample is None:
        st.info(f"{known.why[:1].upper()}{known.why[1:]}.", icon=":material/rate_review:")
        return
    error = sample.reviewed.error
    tasks = len(set(sample.reviewed.task.tolist()))
    where = f" on {view.camera}" if view.camera else ""
    said = [
        f"{tasks:,} tasks with {len(sample.crops):,} crops were reviewed{where}, weighted by how likely each was drawn",
        f"reviewers are taken for wrong in {error.rate:.1%} of answers, "
        + (f"from {error.pairs:,} answers given twice" if error.pairs else "assumed, as nobody answered twice"),
    ]
    if sample.learnt:
        said.append(f"{sample.learnt:,} tasks about people from whom the model may have learnt are left out")
    if sample.missing:
        said.append(f"{sample.missing:,} tasks have no crop of this model and are left out")
    if view.sure:
        said.append(f"predictions that are less than {view.sure:.0%} sure are left out")
    st.caption(" · ".join(said) + ".")


def _detail(context: PageContext, view: View, known: Reviews, cell: str) -> None:
    title = view.attribute.title.capitalize()
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown(f"**{title}: precision and coverage**")
        covered = coverage(context, view)
        slider(covered, view)
        show_curve(context, view, known, covered)
    if known.sample is not None:
        with right:
            st.markdown(f"**{title}: predicted and answered**")
            show_confusion(context, view, known, cell)
        left, right = st.columns(2, gap="medium")
        with left:
            st.markdown(f"**{title}: by camera or over time**")
            show_split(context, view, known)
    with right:
        st.markdown(f"**{title}: what the archive shows**")
        show_distribution(context, view)
