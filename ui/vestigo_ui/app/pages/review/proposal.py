"""What the sampler would ask next, and why, before anything is recorded or sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
import streamlit as st

from vestigo.resolve import require_attributes, resolve_review_model
from vestigo.review.labels.corrections import is_corrections_project
from vestigo.review.sampling.sample import (
    SamplingReason,
    SamplingRequest,
    TaskSample,
    explain_sample,
    sample_tasks,
)
from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, STRATEGIES, find_strategy
from vestigo.store.models.records import Model
from vestigo.store.review.records import LabelProject
from vestigo_ui.app import url_state
from vestigo_ui.app.cache import LruCache
from vestigo_ui.app.components.contact_sheet import Tile, contact_sheet
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.components.tables import show_downloads
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import load_crops
from vestigo_ui.app.pages.review.server import bar, how_to_set_up, send
from vestigo_ui.app.text import count_text, format_moment, format_utc
from vestigo_ui.web.auth.users import Role

PAGE = 48
BUDGET, MOST = 200, 5000
HELD = 2
"""Proposals that are remembered, each with the tasks of up to 20,000 that could be drawn."""
PROPOSED, DONE = "review-proposed", "review-done"
"""Keys of the session: what was asked for, and what was done last."""
UNITS = {"tracklet": "Tracklets", "crop": "Crops"}


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A proposal, without the embeddings that it was made from, and why each of its tasks is in it."""

    proposal: TaskSample
    reasons: list[SamplingReason]


def show_propose(context: PageContext, project: LabelProject | None) -> None:
    """Offer a draw; show what it would ask, and offer to push that."""
    model = resolve_review_model(context.store)
    if model.facts.attributes is None:
        st.info("The model of the archive predicts no attributes, so that there is nothing to ask about.")
        return
    name, wish = _wish(context, project, model)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Propose",
            key="review-propose",
            icon=":material/casino:",
            type="primary",
            shortcut="Alt+Enter",
            on_click=_ask,
            args=(name, wish),
        )
        st.caption("Nothing is recorded or sent by looking.", width="content")
    asked = st.session_state.get(PROPOSED)
    if asked != (name, wish):
        return
    found = _proposed(context, name, model, wish)
    _show(context, name, model, wish, found)


def _wish(context: PageContext, project: LabelProject | None, model: Model) -> tuple[str, SamplingRequest]:
    schema = require_attributes(model)
    held = "" if project is None or is_corrections_project(project.name) or project.schema != schema else project.name
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.text_input("Into project", held or "review", key=f"review-name-{held}", width=180).strip()
        strategy = st.selectbox(
            "Strategy",
            STRATEGIES.usages,
            STRATEGIES.usages.index(DEFAULT_STRATEGY),
            key="strategy",
            bind="query-params",
            width=180,
        )
        budget = st.number_input("Tasks", 1, MOST, BUDGET, key="budget", bind="query-params", width=120)
        unit = st.selectbox(
            "Of", list(UNITS), format_func=UNITS.__getitem__, key="unit", bind="query-params", width=140
        )
        titles = {one.name: one.title.capitalize() for one in schema.attributes}
        about = st.multiselect(
            "About",
            list(titles),
            format_func=titles.__getitem__,
            key="about",
            bind="query-params",
            placeholder="All attributes",
        )
    st.caption(find_strategy(strategy).help)
    return name, SamplingRequest(
        strategy=strategy, budget=int(budget), unit="crop" if unit == "crop" else "tracklet", about=tuple(about)
    )


def _ask(name: str, wish: SamplingRequest) -> None:
    st.session_state[PROPOSED] = (name, wish)
    url_state.put(page=None)


def _proposed(context: PageContext, name: str, model: Model, wish: SamplingRequest) -> Proposed:
    total = context.store.models.crop_counts()[model.digest]
    batches = 0 if context.store.review.find_project(name) is None else len(context.store.review.samples(name))
    key = (
        context.store.ref,
        context.index.snapshot,
        context.store.annotations.version(),
        batches,
        model.digest,
        name,
        wish,
    )

    def make() -> Proposed:
        read = bar("Crops read")
        found = sample_tasks(context.store, name, model, wish, lambda done, _: read(done, total))
        why = explain_sample(found, wish)
        read(total, total)
        features = replace(found.candidates.features, embeddings=found.candidates.features.embeddings[:, :0])
        return Proposed(proposal=replace(found, candidates=replace(found.candidates, features=features)), reasons=why)

    return shared_proposals().get_or_compute(key, make)


@st.cache_resource(show_spinner=False)
def shared_proposals() -> LruCache[Proposed]:
    """Return the cache of proposals of this process."""
    return LruCache(HELD)


def _show(context: PageContext, name: str, model: Model, wish: SamplingRequest, found: Proposed) -> None:
    drawn = found.proposal.design
    if not found.reasons:
        st.info("Everything was asked already: no task is left to draw in this project.")
        return
    thinned = f", a share of {drawn.thinned:.1%} of the archive's," if drawn.thinned < 1 else ""
    st.markdown(
        f"**{count_text(len(found.reasons), 'task')}** of {drawn.population:,}{thinned} would be asked. "
        "Half of a draw is chance, so that "
        "precision can be told of the whole archive; the reason names what raised a task's score most."
    )
    _push(context, name, model, wish, found)
    page = choose_page(len(found.reasons), PAGE)
    some = found.reasons[page * PAGE : (page + 1) * PAGE]
    ids = [one.task.crops[0] for one in some]
    context.audit_once("view", what="proposal", project=name, strategy=wish.description, page=page + 1, shown=ids)
    images = load_crops(context, ids, model=model.digest)
    tiles = [
        Tile(
            crop=crop,
            image=images[crop],
            title=one.task.camera,
            lines=(one.text, f"probability {one.probability:.1%}"),
            hint=format_moment(one.task.time, None),
        )
        for crop, one in zip(ids, some, strict=True)
    ]
    event = contact_sheet(tiles, key="review-proposal", label="Proposed tasks", width=132)
    _downloads(context, found)
    if event is not None:
        url_state.put(sighting=event.crop)
        st.rerun()


def _push(context: PageContext, name: str, model: Model, wish: SamplingRequest, found: Proposed) -> None:
    about = f" --about {','.join(wish.about)}" if wish.about else ""
    command = (
        f"vestigo label push --store STORE --project {name} --strategy {wish.strategy} --budget {wish.budget} "
        f"--unit {wish.unit}{about}"
    )
    if not context.may(Role.REVIEWER):
        st.caption("A reviewer can send these tasks to Label Studio.")
        return
    if context.settings.label_studio is None:
        how_to_set_up(command)
        return
    label = f"Push {count_text(len(found.reasons), 'task')} to Label Studio"
    if st.button(label, key="review-push", icon=":material/upload:", type="primary", disabled=not name):
        made = send(context, name, model, wish, found.proposal, bar("Tasks sent"))
        st.session_state.pop(PROPOSED, None)
        st.session_state[DONE] = f"Sent: {count_text(made.created, 'task')}. The server has {made.on_server:,}."
        url_state.replace(project=name)
        st.rerun()


def _downloads(context: PageContext, found: Proposed) -> None:
    rows = [
        {
            "Task": one.task.key,
            "Camera": one.task.camera,
            "Time (UTC)": None if one.task.time is None else format_utc(one.task.time),
            "Crop": one.task.crops[0],
            "Crops": len(one.task.crops),
            "Probability": one.probability,
            "Attribute": one.attribute,
            "Why": one.text,
        }
        for one in found.reasons
    ]
    show_downloads(context, pd.DataFrame(rows), name="proposal", title="Proposed tasks")
