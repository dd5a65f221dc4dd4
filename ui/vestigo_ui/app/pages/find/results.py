"""The results of page Find: ranked crops as a sheet, in groups, with what people decided about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import streamlit as st

from vestigo.reports.search import describe_attributes
from vestigo.retrieval.search import Hit, SearchResult
from vestigo.store.audit.records import Verdict
from vestigo_models.attribute_filter.rule import STRICT
from vestigo_ui.app import url_state
from vestigo_ui.app.components.contact_sheet import Action, SheetEvent, Tile, Tone, contact_sheet
from vestigo_ui.app.components.paging import choose_page
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import Image, load_crops
from vestigo_ui.app.pages.find import form as search_form
from vestigo_ui.app.text import count_text, escape_md, format_moment
from vestigo_ui.web.auth.users import Role

BRIEF = 4
ALONE = ("gender", "age")
"""Attributes whose values need no name."""


def brief(attributes: Mapping[str, str], confidences: Mapping[str, float]) -> str:
    """Say the first four things that the model is sure of; what somebody does not wear or carry is left out."""
    sure = [name for name, value in attributes.items() if value != "no" and confidences[name] >= STRICT]
    return ", ".join(_said(name, attributes[name]) for name in sure[:BRIEF])


def differing(hit: Hit, attributes: Mapping[str, str], confidences: Mapping[str, float]) -> list[str]:
    """Return the attributes of which the model is sure on both sides, and says different things."""
    return [
        name
        for name, value in attributes.items()
        if hit.attributes.get(name, value) != value and min(confidences[name], hit.confidences[name]) >= STRICT
    ]


def spoken(name: str) -> str:
    """Return an attribute's name as people write it."""
    return name.replace("_", " ")


def _said(name: str, value: str) -> str:
    if value == "yes":
        return spoken(name)
    return value if name in ALONE else f"{spoken(name.removesuffix('_colour'))} {value}"


PAGE = 48
SHEETS = 6
"""Groups of a page that get a heading and a sheet each; of more, the tiles say where a group begins."""
WIDTH = 124
GROUPS = {"none": "Distance", "tracklet": "Tracklet", "camera": "Camera", "hour": "Hour"}
SHOWN = {"all": "All", "undecided": "Undecided", "confirmed": "Confirmed"}
MARKS: dict[str, tuple[str, Tone]] = {
    "confirmed": ("Confirmed", "right"),
    "rejected": ("Rejected", "wrong"),
    "not sure": ("Not sure", "unsure"),
}
Decision = Literal["confirmed", "rejected", "not sure"]
DECISIONS: dict[str, Decision] = {"confirm": "confirmed", "reject": "rejected", "not-sure": "not sure"}
LOOKING = (
    Action(name="search", label="Search with it alone", sign="⌕", key="s"),
    Action(name="add", label="Add to the query", sign="+", key="a"),
)
DECIDING = (
    Action(name="confirm", label="Confirm, or take back", sign="✓", key="c"),
    Action(name="reject", label="Reject, or take back", sign="✕", key="r"),
    Action(name="not-sure", label="Not sure, or take back", sign="?", key="n"),
)
Grouping = Literal["none", "tracklet", "camera", "hour"]


@dataclass(frozen=True)
class Group:
    """Hits that belong together, nearest first."""

    name: str
    hits: tuple[Hit, ...]


def grouped(hits: Sequence[Hit], by: Grouping) -> list[Group]:
    """Put ranked hits into groups, the group of the nearest hit first; a crop of no tracklet is alone."""
    found: dict[str, list[Hit]] = {}
    for hit in hits:
        found.setdefault(_group_of(hit, by), []).append(hit)
    return [Group(_heading(name, some, by), tuple(some)) for name, some in found.items()]


def decided(hits: Sequence[Hit], verdicts: Mapping[str, Verdict], show: str) -> list[Hit]:
    """Return the hits about which was decided as `show` says; their order and ranks stay."""
    if show == "confirmed":
        return [hit for hit in hits if verdict_of(hit.crop, verdicts) == "confirmed"]
    return [hit for hit in hits if show == "all" or verdict_of(hit.crop, verdicts) is None]


def verdict_of(crop: str, verdicts: Mapping[str, Verdict]) -> str | None:
    """Return what counts about a crop, None where nobody decided or it was taken back."""
    found = verdicts.get(crop)
    return None if found is None else found.verdict


def show_results(
    context: PageContext,
    result: SearchResult,
    hits: Sequence[Hit],
    verdicts: Mapping[str, Verdict],
    *,
    key: str,
    by: Grouping,
) -> None:
    """Show a page of hits, and do what was clicked."""
    groups = grouped(hits, by)
    ordered = [(group, hit) for group in groups for hit in group.hits]
    page = choose_page(len(ordered), PAGE)
    shown = ordered[page * PAGE : (page + 1) * PAGE]
    images = load_crops(context, [hit.crop for _, hit in shown], model=result.model)
    actions = (*LOOKING, *(DECIDING if context.may(Role.REVIEWER) else ()))
    parts = [list(some) for _, some in groupby(shown, key=lambda pair: id(pair[0]))]
    looked = url_state.text("look")

    def tiles(part: Sequence[tuple[Group, Hit]], *, named: bool) -> list[Tile]:
        return [
            _tile(hit, images[hit.crop], result, verdicts, group.name if named else "", looked) for group, hit in part
        ]

    chosen = None
    if by != "none" and len(parts) <= SHEETS:
        for part in parts:
            group = part[0][0]
            st.markdown(f"**{escape_md(group.name)}** · {count_text(len(group.hits), 'crop')}")
            sheet = tiles(part, named=False)
            done = contact_sheet(sheet, key=f"find-{by}-{group.name}", label=group.name, actions=actions, width=WIDTH)
            chosen = chosen or done
    else:
        sheet = tiles(shown, named=by != "none")
        chosen = contact_sheet(sheet, key="find-results", label="Results", actions=actions, width=WIDTH)
    if chosen is not None:
        act(context, chosen, verdicts, key=key)
        st.rerun()


def act(context: PageContext, chosen: SheetEvent, verdicts: Mapping[str, Verdict], *, key: str) -> None:
    """Do what somebody chose to do with a result."""
    if chosen.action == "open":
        url_state.put(look=chosen.crop)
    elif chosen.action == "search":
        search_form.find(chosen.crop)
    elif chosen.action == "add":
        search_form.join([chosen.crop], key=key)
    elif chosen.action in DECISIONS and context.may(Role.REVIEWER):
        value = DECISIONS[chosen.action]
        again = verdict_of(chosen.crop, verdicts) == value
        context.store.verdicts.record(
            key,
            chosen.crop,
            None if again else value,
            user=context.user.name,
            case=context.case,
            authority=context.authority,
        )


def _tile(
    hit: Hit,
    image: Image,
    result: SearchResult,
    verdicts: Mapping[str, Verdict],
    group: str,
    looked: str,
) -> Tile:
    differs = [spoken(name) for name in differing(hit, result.attributes, result.confidences)]
    said = brief(hit.attributes, hit.confidences)
    mark, tone = MARKS.get(verdict_of(hit.crop, verdicts) or "", ("", ""))
    when = format_moment(hit.time, hit.offset_s).removesuffix(" UTC")
    lines = (group, hit.camera, when, said, f"Differs: {', '.join(differs)}" if differs else "")
    return Tile(
        crop=hit.crop,
        image=image,
        title=f"{hit.rank} · {hit.distance:.3f}",
        lines=tuple(line for line in lines if line),
        mark=mark,
        tone=tone,
        hint=describe_attributes(hit),
        selected=hit.crop == looked,
    )


def _group_of(hit: Hit, by: Grouping) -> str:
    if by == "camera":
        return hit.camera
    if by == "hour":
        return f"{hit.time:%Y-%m-%d %H}:00" if hit.time is not None else ""
    return (hit.track or hit.crop) if by == "tracklet" else ""


def _heading(name: str, hits: Sequence[Hit], by: Grouping) -> str:
    if by == "tracklet":
        return f"Tracklet of {count_text(len(hits), 'crop')}" if hits[0].track else "Still"
    if by == "hour":
        return f"{name} UTC" if name else "Time unknown"
    return name
