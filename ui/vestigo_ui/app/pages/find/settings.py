"""Where page Find searches and how it chooses, with what the filter is expected to cost before anybody searches."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from vestigo.retrieval.gallery import Scope
from vestigo.store.models.records import Model
from vestigo_models.attribute_filter.modes import FilterConfig, choose_filter
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_ui.app import url_state
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.find.form import SearchForm, as_text, conditions

FILTERS = {
    "off": "Off",
    "auto": "Auto, by what may be lost",
    "soft": "Soft, adds to the distance",
    "strict": f"Strict, from {STRICT:g} on",
    "quality": f"Quality, from {QUALITY:g} on",
    "threshold": "From a threshold on",
}
TOPS = (24, 48, 96, 192, 480)
ANY = "Any"


def settings(context: PageContext, model: Model, asked: SearchForm) -> tuple[SearchForm, str]:
    """Show the settings of the address; return what is asked with them, and what the filter is expected to cost."""
    schema = model.facts.attributes
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        cameras = st.multiselect(
            "Cameras",
            [camera.name for camera in context.store.cameras.list()],
            key="within",
            bind="query-params",
            placeholder="All cameras",
            on_change=first_page,
            width=260,
        )
        since, until = span("since", "until")
        where = attributes(schema, "where", "Attributes") if schema is not None else ""
        config = _filter(model) if schema is not None else FilterConfig()
        rerank = st.toggle(
            "Re-rank",
            key="rerank",
            bind="query-params",
            on_change=first_page,
            disabled=config.filter == "soft",
            help="Order the nearest 200 by the neighbours that they have in common.",
        )
        top = st.selectbox("Results", TOPS, index=2, key="top", bind="query-params", on_change=first_page, width=96)
    scope = Scope(cameras=tuple(cameras) or None, since=since, until=until, where=where)
    made = replace(asked, scope=scope, filter=config, rerank=rerank and config.filter != "soft", top=top or TOPS[2])
    return made, _expected(model, config)


def span(first: str, last: str) -> tuple[datetime | None, datetime | None]:
    """Offer a stretch of time in UTC; the address has it under two names."""
    since, until = url_state.moment(first), url_state.moment(last)
    with st.popover("Time", key=f"time-{first}", icon=":material/schedule:"):
        for label, name, moment in (("From (UTC)", first, since), ("Before (UTC)", last, until)):
            key = f"find-{name}"
            # To the minute, while an address may tell seconds.
            st.session_state[key] = moment and moment.astimezone(UTC).replace(tzinfo=None, second=0, microsecond=0)
            st.datetime_input(label, None, key=key, format="YYYY-MM-DD", on_change=_put_moment, args=(name, key))
    if since is not None and until is not None and since >= until:
        st.warning(f"Nothing is from {since:%Y-%m-%d %H:%M} on and before {until:%Y-%m-%d %H:%M}.")
    return since, until


def attributes(schema: AttributeSchema, name: str, label: str) -> str:
    """Offer a value of each attribute; the address has them under `name` as `gender=female,backpack=yes`."""
    chosen = conditions(url_state.text(name), schema)
    keys = {attribute.name: f"{name}-{attribute.name}" for attribute in schema.attributes}

    def changed() -> None:
        picked = {one: st.session_state[key] for one, key in keys.items()}
        url_state.put(**{name: as_text({one: value for one, value in picked.items() if value != ANY})})
        first_page()

    with st.popover(f"{label} ({len(chosen)})" if chosen else label, key=f"attributes-{name}"):
        columns = st.columns(3, wrap=False)
        for place, attribute in enumerate(schema.attributes):
            st.session_state[keys[attribute.name]] = chosen.get(attribute.name, ANY)
            columns[place % 3].selectbox(
                attribute.title.capitalize(),
                (ANY, *attribute.values),
                key=keys[attribute.name],
                format_func=str.capitalize,
                on_change=changed,
            )
    return as_text(chosen)


def first_page() -> None:
    """Begin again with the first page, for other results, and show them."""
    url_state.put(page=None, sheet=None, look=None)


def _put_moment(name: str, key: str) -> None:
    time: datetime | None = st.session_state[key]
    url_state.put(**{name: None if time is None else time.isoformat()})
    first_page()


def _filter(model: Model) -> FilterConfig:
    key = "find-filter"
    # Streamlit's own binding would put the words of an option into the address.
    st.session_state[key] = url_state.one_of("filter", FILTERS, "off")

    def changed() -> None:
        url_state.put(filter=st.session_state[key] if st.session_state[key] != "off" else None)
        first_page()

    mode = st.selectbox(
        "Attribute filter",
        list(FILTERS),
        format_func=FILTERS.__getitem__,
        key=key,
        on_change=changed,
        width=220,
        help="Discards crops whose attributes the model is sure are others. At least 50 crops and 1 % of those in "
        "scope stay, however sure it is.",
    )
    if mode == "auto":
        lost = st.number_input(
            "May be lost (%)", 0.1, 50.0, 1.0, 0.1, key="lost", bind="query-params", on_change=first_page, width=130
        )
        return FilterConfig(filter="auto", max_lost=lost / 100)
    if mode == "threshold":
        sure = st.number_input(
            "Sure from", 0.5, 1.0, 0.9, 0.01, key="sure", bind="query-params", on_change=first_page, width=110
        )
        return FilterConfig(filter=f"{sure:g}")
    return FilterConfig(filter=mode or "off")


def _expected(model: Model, config: FilterConfig) -> str:
    """What the filter is expected to cost, or why it cannot be had."""
    if model.facts.attributes is None:
        return "This model predicts no attributes, so nothing can be filtered by them."
    try:
        choice = choose_filter(config, Calibration.read(model.facts.calibration))
    except ConfigError:
        return (
            "This model has no calibration for such a filter: run `vestigo calibrate`, or choose strict, quality or a "
            "threshold."
        )
    return "" if choice.mode == "off" else choice.describe()
