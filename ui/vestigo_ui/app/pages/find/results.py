"""Results of page Find: a contact sheet of ranked crops, in groups, with verdicts, a timeline and downloads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from vestigo.reports.page import describe_attributes, search_page
from vestigo.retrieval.gallery import without_time_note
from vestigo.retrieval.search import Hit, SearchResult
from vestigo.store.audit.records import Verdict
from vestigo_models.attribute_filter.rule import STRICT
from vestigo_ui.app import url_state
from vestigo_ui.app.components import charts
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.choice import choose_page
from vestigo_ui.app.components.contact_sheet import Action, Tile, contact_sheet
from vestigo_ui.app.components.result.verdict import MARKS, record_verdict
from vestigo_ui.app.components.tables import show_downloads
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, hide_upload, load_crops
from vestigo_ui.app.pages.find.form import SearchForm, add_crops, search_with, session_uploads
from vestigo_ui.app.text import count_text, escape_md, format_moment
from vestigo_ui.web.auth.users import Role

PAGE = 48
MAX_SHEETS = 6
"""Groups of a page that have a heading and a sheet each; if there are more, the tiles name their group."""
WIDTH = 124
MAX_ATTRIBUTES = 4
SELF_EXPLAINING = ("gender", "age")
"""Attributes whose values are understood without their name."""
GROUPINGS = {"none": "None", "tracklet": "Tracklet", "camera": "Camera", "hour": "Hour"}
VERDICT_FILTERS = {"all": "All", "undecided": "Without verdict", "confirmed": "Confirmed"}
NO_VERDICT = "No verdict"
MARKERS = {"confirmed": ("square", "#009e73"), "rejected": ("x", "#d55e00"), "not sure": ("diamond", "#cc79a7")}
"""Symbol and colour of a verdict; results without one are circles in the colour of their distance."""
LANE, MARGIN = 26, 120
"""Height in pixels of a lane and of everything else."""
SEARCH_ACTIONS = (
    Action(name="search", label="Search with this crop alone", sign="⌕", key="s"),
    Action(name="add", label="Add to the query", sign="+", key="a"),
)
VERDICT_ACTIONS = tuple(
    Action(name=name, label=f"{label}, or withdraw", sign=sign, key=key, mark=MARKS[value][0], tone=MARKS[value][1])
    for name, label, sign, key, value in (
        ("confirm", "Confirm", "✓", "c", "confirmed"),
        ("reject", "Reject", "✕", "r", "rejected"),
        ("not-sure", "Not sure", "?", "n", "not sure"),
    )
)


@dataclass(frozen=True)
class HitGroup:
    """Hits that belong together, the nearest first."""

    name: str
    hits: tuple[Hit, ...]


def summarize_attributes(attributes: Mapping[str, str], confidences: Mapping[str, float]) -> str:
    """Return the first four confident attributes in words; those with the value "no" are omitted."""
    reliable = [name for name, value in attributes.items() if value != "no" and confidences[name] >= STRICT]
    return ", ".join(_describe_attribute(name, attributes[name]) for name in reliable[:MAX_ATTRIBUTES])


def differing_attributes(hit: Hit, attributes: Mapping[str, str], confidences: Mapping[str, float]) -> list[str]:
    """Return the names of attributes that are confident in the query and the hit, and differ."""
    return [
        name
        for name, value in attributes.items()
        if hit.attributes.get(name, value) != value and min(confidences[name], hit.confidences[name]) >= STRICT
    ]


def _describe_attribute(name: str, value: str) -> str:
    if value == "yes":
        return name.replace("_", " ")
    return value if name in SELF_EXPLAINING else f"{name.removesuffix('_colour').replace('_', ' ')} {value}"


def group_hits(hits: Sequence[Hit], grouping: str) -> list[HitGroup]:
    """Return ranked hits in groups (a key of `GROUPINGS`), the group of the nearest hit first."""
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(_group_key(hit, grouping), []).append(hit)
    return [HitGroup(_group_name(key, members, grouping), tuple(members)) for key, members in groups.items()]


def _group_key(hit: Hit, grouping: str) -> str:
    if grouping == "camera":
        return hit.camera
    if grouping == "hour":
        return f"{hit.time:%Y-%m-%d %H}:00" if hit.time is not None else ""
    return (hit.track or hit.crop) if grouping == "tracklet" else ""


def _group_name(key: str, hits: Sequence[Hit], grouping: str) -> str:
    if grouping == "tracklet":
        return f"Tracklet of {count_text(len(hits), 'crop')}" if hits[0].track else "Still"
    if grouping == "hour":
        return f"{key} UTC" if key else "Time unknown"
    return key


def filter_by_verdict(hits: Sequence[Hit], verdicts: Mapping[str, Verdict], verdict_filter: str) -> list[Hit]:
    """Return the hits that a key of `VERDICT_FILTERS` selects; order and ranks remain."""
    if verdict_filter == "confirmed":
        return [hit for hit in hits if verdict_value(hit.crop, verdicts) == "confirmed"]
    return [hit for hit in hits if verdict_filter == "all" or verdict_value(hit.crop, verdicts) is None]


def verdict_value(crop: str, verdicts: Mapping[str, Verdict]) -> str | None:
    """Return the current verdict about a crop, None if there is none or it was withdrawn."""
    verdict = verdicts.get(crop)
    return None if verdict is None else verdict.verdict


def show_results(
    context: PageContext,
    result: SearchResult,
    hits: Sequence[Hit],
    verdicts: Mapping[str, Verdict],
    *,
    key: str,
    grouping: str,
) -> None:
    """Show a page of the `hits` of a result, in groups (a key of `GROUPINGS`), and handle the user's input on them.

    `verdicts` are by crop; `key` is that of the query's verdicts.
    """
    ordered = [(group, hit) for group in group_hits(hits, grouping) for hit in group.hits]
    page = choose_page(len(ordered), PAGE)
    shown = ordered[page * PAGE : (page + 1) * PAGE]
    images = load_crops(context, [hit.crop for _, hit in shown], model=result.model)
    actions = (*SEARCH_ACTIONS, *(VERDICT_ACTIONS if context.may(Role.REVIEWER) else ()))
    parts = [list(part) for _, part in groupby(shown, key=lambda pair: id(pair[0]))]

    def tiles(part: Sequence[tuple[HitGroup, Hit]], *, named: bool) -> list[Tile]:
        return [_tile(hit, images[hit.crop], result, verdicts, group.name if named else "") for group, hit in part]

    sheets: dict[str, Any] = {
        "actions": actions,
        "scope": f"{key} {context.case or ''}",
        "width": WIDTH,
        "on_action": lambda action: handle_action(context, action, key=key),
        "opens_result": True,
    }
    if grouping != "none" and len(parts) <= MAX_SHEETS:
        for part in parts:
            group = part[0][0]
            st.markdown(f"**{escape_md(group.name)}** · {count_text(len(group.hits), 'crop')}")
            sheet = tiles(part, named=False)
            contact_sheet(sheet, key=f"find-{grouping}-{group.name}", label=group.name, **sheets)
    else:
        sheet = tiles(shown, named=grouping != "none")
        contact_sheet(sheet, key="find-results", label="Results", **sheets)


def handle_action(context: PageContext, action: UserAction, *, key: str) -> None:
    """Open a result, search with it, add it to the query, or record a verdict about it."""
    if action.action == "open":
        url_state.put(look=action.crop)
    elif action.action == "search":
        search_with(action.crop)
    elif action.action == "add":
        add_crops([action.crop], key=key)
    else:
        record_verdict(context, key, action)


def _tile(hit: Hit, image: Image, result: SearchResult, verdicts: Mapping[str, Verdict], group: str) -> Tile:
    differing = differing_attributes(hit, result.attributes, result.confidences)
    names = ", ".join(name.replace("_", " ") for name in differing)
    mark, tone = MARKS.get(verdict_value(hit.crop, verdicts) or "", ("", ""))
    return Tile(
        crop=hit.crop,
        image=image,
        title=f"{hit.rank} · {hit.distance:.3f}",
        lines=(
            group,
            hit.camera,
            format_moment(hit.time, hit.offset_s, zone=False),
            summarize_attributes(hit.attributes, hit.confidences),
            f"Differs: {names}" if names else "",
        ),
        mark=mark,
        tone=tone,
        hint=describe_attributes(hit),
        selected=hit.crop == url_state.text("look"),
    )


def show_timeline(hits: Sequence[Hit], verdicts: Mapping[str, Verdict]) -> None:
    """Show the results in time; a click on a mark opens its result."""
    timed = [hit for hit in hits if hit.time is not None]
    offset = [hit for hit in hits if hit.time is None and hit.offset_s is not None]
    for name, part, axis in (("time", timed, "Time (UTC)"), ("offset", offset, "Seconds into the video")):
        if part:
            alt = f"Timeline of {len(part)} results on {len({hit.camera for hit in part})} cameras"
            crop = charts.clicked_point(timeline_figure(part, verdicts, axis), key=f"find-timeline-{name}", alt=alt)
            if crop is not None:
                url_state.put(look=crop)
                st.rerun()
    unknown = len(hits) - len(timed) - len(offset)
    if unknown:
        st.caption(f"{unknown:,} of the results have no time and are not in the timeline.")


def timeline_figure(hits: Sequence[Hit], verdicts: Mapping[str, Verdict], axis: str) -> go.Figure:
    """Return the figure: time along the axis, cameras upwards with that of the nearest hit on top."""
    cameras = list(dict.fromkeys(hit.camera for hit in hits))
    figure = charts.new_figure(x=axis, y="Camera", height=MARGIN + LANE * max(2, len(cameras)))
    for verdict in (None, *MARKERS):
        part = [hit for hit in hits if verdict_value(hit.crop, verdicts) == verdict]
        if part:
            figure.add_scatter(**_trace(part, verdict))
    figure.update_layout(showlegend=len(figure.data) > 1)
    figure.update_yaxes(categoryorder="array", categoryarray=cameras[::-1], type="category")
    figure.update_layout(clickmode="event+select", dragmode="zoom", hovermode="closest")
    return figure


def _trace(hits: Sequence[Hit], verdict: str | None) -> dict[str, Any]:
    marker: dict[str, Any] = {"size": 11, "line": {"width": 1, "color": "rgba(128,128,128,0.9)"}}
    if verdict is None:
        marker |= {
            "symbol": "circle",
            "color": [hit.distance for hit in hits],
            "colorscale": charts.SCALE,
            "showscale": True,
            "colorbar": {"title": {"text": "Distance"}, "thickness": 10, "nticks": 3},
        }
    else:
        symbol, colour = MARKERS[verdict]
        marker |= {"symbol": symbol, "color": colour}
    return {
        "x": [hit.time if hit.time is not None else hit.offset_s for hit in hits],
        "y": [hit.camera for hit in hits],
        "mode": "markers",
        "name": NO_VERDICT if verdict is None else MARKS[verdict][0],
        "marker": marker,
        "customdata": [[hit.crop] for hit in hits],
        "text": [f"{hit.rank} · {hit.distance:.3f}<br>{format_moment(hit.time, hit.offset_s)}" for hit in hits],
        "hovertemplate": "%{text}<extra>%{y}</extra>",
    }


def show_result_downloads(
    context: PageContext, form: SearchForm, result: SearchResult, hits: Sequence[Hit], verdicts: Mapping[str, Verdict]
) -> None:
    """Offer hits as CSV, Parquet and an HTML page with their crops."""
    uploads = [session_uploads()[digest].image for digest in form.uploads]
    page = partial(result_page, context, form, result, hits, uploads)
    show_downloads(context, result_table(hits, verdicts), name="results", title="Results", page=page)


def result_table(hits: Sequence[Hit], verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """Return one row for each hit in order of rank, with one column for each attribute."""
    rows = [
        {
            "rank": hit.rank,
            "distance": hit.distance,
            "crop": hit.crop,
            "camera": hit.camera,
            "time": hit.time,
            "offset_s": hit.offset_s,
            "tracklet": hit.track,
            "input": hit.input,
            "frame": hit.frame if hit.frame >= 0 else None,
            "verdict": verdict_value(hit.crop, verdicts),
            **hit.attributes,
        }
        for hit in hits
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({"frame": "Int64", "offset_s": "float64", "verdict": "string"}) if rows else frame


def result_page(
    context: PageContext, form: SearchForm, result: SearchResult, hits: Sequence[Hit], uploads: Sequence[Image]
) -> str:
    """Return the page of `vestigo search --html`, with heads hidden where the screen hides them."""
    images: dict[str, Image] = {}
    for start in range(0, len(hits), PAGE):
        images |= load_crops(context, [hit.crop for hit in hits[start : start + PAGE]], model=result.model)
    stored = load_crops(context, form.crops, model=result.model)
    facts = {"Store": context.store_name, "Crops compared": f"{result.compared:,}", "Model": result.model[:12]}
    facts |= {"Conditions": form.scope.where} if form.scope.where else {}
    if note := without_time_note(result.without_time):
        facts |= {"Left out": note}
    if result.filter is not None:
        facts |= {"Crops that the filter kept": f"{result.kept_fraction:.1%}", "Filter": result.filter.describe()}
    queries = [*(hide_upload(context, image) for image in uploads), *stored.values()]
    return search_page(replace(result, hits=tuple(hits)), queries, [images[hit.crop] for hit in hits], facts)
