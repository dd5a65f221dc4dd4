"""Preview of a sample of tasks with the reason of each, before it is recorded or sent."""

import zlib
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

import pandas as pd
import streamlit as st

from vestigo.resolve import require_attributes, resolve_review_model
from vestigo.review.labels.corrections import is_corrections_project
from vestigo.review.sampling.sample import SamplingReason, SamplingRequest, TaskSample, explain_sample, sample_tasks
from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, STRATEGIES, find_strategy
from vestigo.store.models.records import Model
from vestigo.store.review.records import LabelProject
from vestigo_ui.app import url_state
from vestigo_ui.app.cache import shared_cache
from vestigo_ui.app.components.actions import action_button
from vestigo_ui.app.components.choice import choose_page
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet, open_as
from vestigo_ui.app.components.tables import show_downloads
from vestigo_ui.app.components.work import work_button
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import load_crops
from vestigo_ui.app.pages.review.server import progress_bar, send, show_setup
from vestigo_ui.app.text import attribute_titles, count_text, format_moment, format_utc
from vestigo_ui.web.auth.users import Role

PAGE = 48
DEFAULT_BUDGET, MAX_BUDGET = 200, 5000
CACHED_SAMPLES = 2
"""Samples, each with up to 20,000 candidate tasks."""
REQUEST, WANTED, DONE = "review-request", "review-wanted", "review-done"
"""Session keys: the request whose sample is shown, whether another is wanted, and the message about the last push."""
UNITS = {"tracklet": "Tracklets", "crop": "Crops"}


@dataclass(frozen=True, kw_only=True)
class ExplainedSample:
    """A sample of tasks of a project without the embeddings of its candidates, and the reason of each task."""

    project: str
    model: Model
    request: SamplingRequest
    sample: TaskSample
    reasons: list[SamplingReason]


def show_sampling(context: PageContext, project: LabelProject | None) -> None:
    """Show the settings of a sample, its tasks, and a button that pushes them."""
    model = resolve_review_model(context.store)
    if model.facts.attributes is None:
        st.info("The model of the crops predicts no attributes, so there is nothing to annotate.")
        return
    name, request = _choose_request(context, project, model)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        options: dict[str, Any] = {"icon": ":material/casino:", "type": "primary", "shortcut": "Alt+Enter"}
        action_button("Sample", _want_sample, key="sample", **options)
        st.caption("A preview records and sends nothing.", width="content")
    # The page has the settings that were changed just before the click.
    if st.session_state.get(WANTED):
        st.session_state[REQUEST] = (name, request)
        st.session_state[WANTED] = False
    if st.session_state.get(REQUEST) == (name, request):
        _show_sample(context, _explained_sample(context, name, model, request))


def _choose_request(context: PageContext, project: LabelProject | None, model: Model) -> tuple[str, SamplingRequest]:
    schema = require_attributes(model)
    default = (
        "" if project is None or is_corrections_project(project.name) or project.schema != schema else project.name
    )
    titles = attribute_titles(schema)
    url_state.check_bound("strategy", STRATEGIES.usages, "strategy")
    url_state.number("budget", DEFAULT_BUDGET, 1, MAX_BUDGET)
    url_state.check_bound("unit", UNITS.values(), "unit")
    url_state.check_bound("about", titles.values(), "attribute")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.text_input("Project", default or "review", key=f"review-name-{default}", width=180).strip()
        bound: dict[str, Any] = {"bind": "query-params"}
        usages = STRATEGIES.usages
        place = usages.index(DEFAULT_STRATEGY)
        strategy = st.selectbox("Strategy", usages, place, key="strategy", width=180, **bound)
        budget = st.number_input("Tasks", 1, MAX_BUDGET, DEFAULT_BUDGET, key="budget", width=120, **bound)
        unit = st.selectbox("Unit", list(UNITS), format_func=UNITS.__getitem__, key="unit", width=140, **bound)
        bound |= {"format_func": titles.__getitem__, "placeholder": "All attributes"}
        about = st.multiselect("About", list(titles), key="about", **bound)
    st.caption(find_strategy(strategy).help)
    return name, SamplingRequest(
        strategy=strategy, budget=int(budget), unit="crop" if unit == "crop" else "tracklet", about=tuple(about)
    )


def _want_sample() -> None:
    st.session_state[WANTED] = True
    url_state.put(page=None)


def _explained_sample(context: PageContext, name: str, model: Model, request: SamplingRequest) -> ExplainedSample:
    total = context.store.models.crop_counts()[model.digest]
    samples = 0 if context.store.review.find_project(name) is None else len(context.store.review.samples(name))
    versions = context.index.snapshot, context.store.annotations.version(), samples

    def compute() -> ExplainedSample:
        report = progress_bar("Crops read")
        sample = sample_tasks(context.store, name, model, request, lambda done, _: report(done, total))
        reasons = explain_sample(sample, request)
        report(total, total)
        features = sample.candidates.features
        features = replace(features, embeddings=features.embeddings[:, :0])
        sample = replace(sample, candidates=replace(sample.candidates, features=features))
        return ExplainedSample(project=name, model=model, request=request, sample=sample, reasons=reasons)

    key = (context.store.ref, *versions, model.digest, name, request)
    explained: ExplainedSample = shared_cache("samples", CACHED_SAMPLES).get_or_compute(key, compute)
    return explained


def _show_sample(context: PageContext, explained: ExplainedSample) -> None:
    design = explained.sample.design
    if not explained.reasons:
        st.info("Every task of this project is sampled already.")
        return
    share = f", a share of {design.thinned:.1%} of the archive's," if design.thinned < 1 else ""
    st.markdown(
        f"**{count_text(len(explained.reasons), 'task')}** of {design.population:,}{share} are sampled. "
        "Half of the sample is random, so that precision can be estimated for the whole archive. The reason names "
        "what raised a task's score most."
    )
    _show_push(context, explained)
    page = choose_page(len(explained.reasons), PAGE)
    shown = explained.reasons[page * PAGE : (page + 1) * PAGE]
    ids = [reason.task.crops[0] for reason in shown]
    details = {"project": explained.project, "strategy": explained.request.description}
    context.audit_once("view", what="proposal", **details, page=page + 1, shown=ids)
    images = load_crops(context, ids, model=explained.model.digest)
    tiles = [
        Tile(
            crop=crop,
            image=images[crop],
            title=reason.task.camera,
            lines=(reason.text, f"probability {reason.probability:.1%}"),
            hint=format_moment(reason.task.time, None),
        )
        for crop, reason in zip(ids, shown, strict=True)
    ]
    contact_sheet(tiles, key="review-sample", label="Sampled tasks", width=132, on_action=open_as("sighting"))
    _show_downloads(context, explained)


def _show_push(context: PageContext, explained: ExplainedSample) -> None:
    name, request = explained.project, explained.request
    about = f" --about {','.join(request.about)}" if request.about else ""
    command = (
        f"vestigo label push --store STORE --project {quote(name)} --strategy {request.strategy} "
        f"--budget {request.budget} --unit {request.unit}{about}"
    )
    if not context.may(Role.REVIEWER):
        st.caption("A reviewer can send these tasks to Label Studio.")
        return
    if context.settings.label_studio is None:
        show_setup(command)
        return
    label = f"Push {count_text(len(explained.reasons), 'task')} to Label Studio"
    result = work_button(
        label,
        lambda: send(context, name, explained.model, request, explained.sample, progress_bar("Tasks sent")),
        key=f"push-{zlib.crc32(repr((name, request)).encode())}",
        icon=":material/upload:",
        type="primary",
        disabled=not name,
    )
    if result is not None:
        st.session_state.pop(REQUEST, None)
        st.session_state[DONE] = f"Sent: {count_text(result.created, 'task')}. The server has {result.on_server:,}."
        url_state.replace(project=name)
        st.rerun()


def _show_downloads(context: PageContext, explained: ExplainedSample) -> None:
    rows = [
        {
            "Task": reason.task.key,
            "Camera": reason.task.camera,
            "Time (UTC)": None if reason.task.time is None else format_utc(reason.task.time),
            "Crop": reason.task.crops[0],
            "Crops": len(reason.task.crops),
            "Probability": reason.probability,
            "Attribute": reason.attribute,
            "Reason": reason.text,
        }
        for reason in explained.reasons
    ]
    show_downloads(context, pd.DataFrame(rows), name="proposal", title="Sampled tasks")
