"""Page Attributes: accuracy of the predicted attributes, estimated from annotations, and the crops behind it."""

import streamlit as st

from vestigo.review.estimates.review_sample import ReviewSample
from vestigo.store.models.records import Model
from vestigo_ui.app import url_state
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.attributes import detail
from vestigo_ui.app.pages.attributes.estimates import SelectedSample, load_sample
from vestigo_ui.app.pages.attributes.overview import show_overview
from vestigo_ui.app.pages.attributes.selection import AttributesSelection, cell_classes, choose_attribute
from vestigo_ui.app.pages.attributes.sheet import show_archive, show_cell, show_distribution
from vestigo_ui.app.text import escape_md


def show(context: PageContext) -> None:
    """Show the overview of all attributes, one attribute in detail, and its crops."""
    st.title("Attributes", anchor=False)
    models = _find_models(context)
    if not models:
        return
    selection = choose_attribute(context, models)
    # The browse index answers at once; reading the annotations of a large archive can take a moment.
    above, middle, below = st.container(), st.container(), st.container()
    cell = url_state.one_of("cell", cell_classes(selection.attribute), "")
    if not cell:
        with below:
            show_archive(context, selection)
    with above:
        sample, reason = load_sample(context, selection)
        if sample is None:
            reason = escape_md(reason[:1].upper() + reason[1:], keep_code=True)
            st.info(f"{reason}.", icon=":material/rate_review:")
        else:
            st.caption(_describe_basis(sample.sample, selection))
        show_overview(context, selection, sample)
    with middle:
        _show_detail(context, selection, sample, cell)
    if cell:
        with below:
            if sample is None:
                show_archive(context, selection)
            else:
                show_cell(context, selection, sample.sample, cell)


def _find_models(context: PageContext) -> list[Model]:
    if not context.store.models.crop_counts():
        st.info("The store has no crops yet. Index an archive with `vestigo index SOURCE --store STORE`.")
        return []
    models = [model for model in context.store.models.with_crops() if model.facts.attributes is not None]
    if not models:
        st.info(
            "The model of the crops predicts no attributes. Index them with one that does: "
            "`vestigo index SOURCE --store STORE --model MODEL`."
        )
    return models


def _describe_basis(crops: ReviewSample, selection: AttributesSelection) -> str:
    """Return what the estimates are made from."""
    error = crops.reviewed.error
    tasks = len(set(crops.reviewed.task.tolist()))
    where = f" on {escape_md(selection.camera)}" if selection.camera else ""
    parts = [
        f"{tasks:,} tasks with {len(crops.crops):,} crops are annotated{where}, weighted by inclusion probability",
        f"annotator error {error.rate:.1%}, "
        + (f"from {error.pairs:,} pairs of annotations" if error.pairs else "assumed, as no task has two annotations"),
    ]
    if crops.learnt:
        parts.append(f"omitted: {crops.learnt:,} tasks of identities that can be in the training data")
    if crops.missing:
        parts.append(f"omitted: {crops.missing:,} tasks without a crop of this model")
    if selection.confidence:
        parts.append(f"omitted: predictions with a confidence below {selection.confidence:.0%}")
    return " · ".join(parts) + "."


def _show_detail(
    context: PageContext, selection: AttributesSelection, sample: SelectedSample | None, cell: str
) -> None:
    title = escape_md(selection.attribute.title.capitalize())
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown(f"**{title}: precision and coverage**")
        coverage = detail.load_coverage(context, selection)
        detail.choose_threshold(coverage, selection)
        if sample is not None:
            detail.show_curve(context, selection, sample, coverage)
    if sample is not None:
        with right:
            st.markdown(f"**{title}: predictions and labels**")
            detail.show_confusion(context, selection, sample, cell)
        left, right = st.columns(2, gap="medium")
        with left:
            st.markdown(f"**{title}: by camera or over time**")
            detail.show_split(context, selection, sample)
    with right:
        st.markdown(f"**{title}: predictions in the archive**")
        show_distribution(context, selection)
