"""Settings of page Find: scope, attribute filter and options."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from vestigo.retrieval.gallery import Scope
from vestigo.store.crops.cameras import match_cameras
from vestigo.store.models.records import Model
from vestigo_models.attribute_filter.modes import FilterConfig, choose_filter
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.errors import ConfigError, StoreError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_ui.app import url_state
from vestigo_ui.app.components.choice import choose_one
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.find.form import SearchForm, format_conditions, parse_conditions

FILTERS = {
    "off": "Off",
    "auto": "Auto, by miss rate",
    "soft": "Soft, adds to the distance",
    "strict": f"Strict, from {STRICT:g}",
    "quality": f"Quality, from {QUALITY:g}",
    "threshold": "From a threshold",
}
MISS_RATES, CONFIDENCES = (0.1, 50.0), (0.5, 1.0)
"""Least and largest miss rate in percent, and threshold of confidence."""
TOPS = (24, 48, 96, 192, 480)
ANY = "Any"
_PAGES = ("page", "sheet", "look")
"""Parameters that another choice of crops removes."""


def show_settings(context: PageContext, model: Model, form: SearchForm) -> tuple[SearchForm, str]:
    """Show the settings; return the form with them, and a note on the filter."""
    schema = model.facts.attributes
    if schema is None and url_state.text("where"):
        url_state.refuse(f"model {model.name} predicts no attributes.")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        cameras = choose_cameras(context, "Cameras", "within")
        since, until = choose_time("since", "until")
        where = choose_attributes(schema, "where", "Attributes") if schema is not None else ""
        config = _choose_filter() if schema is not None else FilterConfig()
        help_text = "Re-ranks the nearest 200 crops by the neighbours that they share."
        url_state.check_bound("rerank", ("true", "false"), "value of rerank")
        rerank = st.toggle("Re-rank", key="rerank", disabled=config.filter == "soft", help=help_text, **_BOUND)
        url_state.one_of("top", map(str, TOPS), str(TOPS[2]), kind="number of results")
        top = st.selectbox("Results", TOPS, index=2, key="top", width=96, **_BOUND)
    scope = Scope(cameras=cameras, since=since, until=until, where=where)
    rerank = rerank and config.filter != "soft"
    form = replace(form, scope=scope, filter=config, rerank=rerank, top=top or TOPS[2])
    return form, _describe_filter(model, config)


def choose_cameras(context: PageContext, label: str, name: str) -> tuple[str, ...] | None:
    """Show a choice of cameras that the address holds under `name`; None means all."""
    known = [camera.name for camera in context.store.cameras.list()]
    chosen: list[str] = []
    for camera in url_state.many(name):
        try:
            chosen += match_cameras([camera], known)
        except StoreError as error:
            url_state.refuse(str(error))
    st.session_state[name] = list(dict.fromkeys(chosen))

    def changed() -> None:
        url_state.put(**{name: st.session_state[name]})
        show_first_page()

    cameras = st.multiselect(label, known, key=name, placeholder="All cameras", on_change=changed, width=260)
    return tuple(cameras) or None


def choose_time(first: str, last: str) -> tuple[datetime | None, datetime | None]:
    """Show a choice of a time span in UTC that the address holds under two names."""
    since, until = url_state.moment(first), url_state.moment(last)
    with st.popover(describe_time(since, until), key=f"time-{first}", icon=":material/schedule:"):
        for label, name, time in (("From (UTC)", first, since), ("Before (UTC)", last, until)):
            key = f"find-{name}"
            # The widget has minutes, the address may have seconds.
            st.session_state[key] = time and time.astimezone(UTC).replace(tzinfo=None, second=0, microsecond=0)
            st.datetime_input(label, None, key=key, format="YYYY-MM-DD", on_change=_put_time, args=(name, key))
    if since is not None and until is not None and since >= until:
        st.warning(f"The time span is empty: {since:%Y-%m-%d %H:%M} is not before {until:%Y-%m-%d %H:%M}.")
    return since, until


def describe_time(since: datetime | None, until: datetime | None) -> str:
    """Return a time span in words, "Time" for all times."""
    parts = [
        f"{word} {time.astimezone(UTC):%Y-%m-%d %H:%M}"
        for word, time in (("from", since), ("before", until))
        if time is not None
    ]
    return f"Time: {' '.join(parts)} UTC" if parts else "Time"


def choose_attributes(schema: AttributeSchema, name: str, label: str) -> str:
    """Show a choice of attribute values that the address holds under `name`, as `gender=female,backpack=yes`."""
    conditions, mistakes = parse_conditions(url_state.text(name), schema)
    for mistake in mistakes:
        url_state.refuse(mistake)
    keys = {attribute.name: f"{name}-{attribute.name}" for attribute in schema.attributes}

    def changed() -> None:
        values = {attribute: st.session_state[key] for attribute, key in keys.items()}
        url_state.put(**{name: format_conditions({each: value for each, value in values.items() if value != ANY})})
        show_first_page()

    with st.popover(f"{label} ({len(conditions)})" if conditions else label, key=f"attributes-{name}"):
        columns = st.columns(3, wrap=False)
        for place, attribute in enumerate(schema.attributes):
            st.session_state[keys[attribute.name]] = conditions.get(attribute.name, ANY)
            columns[place % 3].selectbox(
                attribute.title.capitalize(),
                (ANY, *attribute.values),
                key=keys[attribute.name],
                format_func=str.capitalize,
                on_change=changed,
            )
    return format_conditions(conditions)


def show_first_page() -> None:
    """Go to the first page of results and sightings, and close the open result."""
    url_state.put(**dict.fromkeys(_PAGES))


_BOUND: dict[str, Any] = {"bind": "query-params", "on_change": show_first_page}
"""Arguments of widgets that the address holds."""


def _put_time(name: str, key: str) -> None:
    time: datetime | None = st.session_state[key]
    url_state.put(**{name: None if time is None else time.isoformat()})
    show_first_page()


def _choose_filter() -> FilterConfig:
    mode = choose_one(
        "Attribute filter",
        FILTERS,
        "filter",
        key="find-filter",
        clear=_PAGES,
        width=220,
        help="Discards crops with a confident, different attribute. At least 50 crops and 1 % of the gallery remain.",
    )
    url_state.check_number("lost", *MISS_RATES)
    url_state.check_number("sure", *CONFIDENCES)
    if mode == "auto":
        help_text = "Largest share of true matches that the filter may discard."
        limits = (*MISS_RATES, 1.0, 0.1)
        miss_rate = st.number_input("Miss rate (%)", *limits, key="lost", width=130, help=help_text, **_BOUND)
        return FilterConfig(filter="auto", max_lost=miss_rate / 100)
    if mode == "threshold":
        threshold = st.number_input("Confidence", *CONFIDENCES, 0.9, 0.01, key="sure", width=110, **_BOUND)
        return FilterConfig(filter=f"{threshold:g}")
    return FilterConfig(filter=mode)


def _describe_filter(model: Model, config: FilterConfig) -> str:
    """Return the filter's expected kept fraction and miss rate, or why the model cannot filter."""
    if model.facts.attributes is None:
        return "This model predicts no attributes, so the attribute filter cannot be used."
    try:
        choice = choose_filter(config, Calibration.read(model.facts.calibration))
    except ConfigError:
        return (
            "This model has no calibration for this filter. Run `vestigo calibrate`, or choose strict, quality or a "
            "threshold."
        )
    return "" if choice.mode == "off" else choice.describe()
