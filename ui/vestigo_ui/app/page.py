"""The search page, as Streamlit runs it: from the top, again after every click.

The picked crop stands in the address (`?crop=ID`), so a search can be kept as a link; an uploaded picture does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo.archives.origin import frame_of
from vestigo.reports.search import described
from vestigo.retrieval import Hit, Query, Scope, current_model
from vestigo_models.errors import BadInput, VestigoError
from vestigo_models.images import decode_image
from vestigo_ui.app import resources
from vestigo_ui.app.gallery import Candidate, page_of
from vestigo_ui.app.present import fills, moment, tile, with_box

PICKS_A_ROW, PICK_ROWS = 8, 3
HITS_A_ROW = 5
EVERYWHERE = "All cameras"


def main() -> None:
    """Show the picker, or the answer once somebody is picked."""
    st.set_page_config(page_title="Vestigo", page_icon=":material/person_search:", layout="wide")
    store = resources.the_store()
    st.title("Find a person", anchor=False)
    if not store.models():
        st.info("The store is empty. Fill it with: `vestigo index SOURCE --store STORE`", icon=":material/inbox:")
        return
    model = current_model(store).digest
    cameras = [camera.name for camera in store.cameras()]
    upload: NDArray[np.uint8] | None = st.session_state.get("upload")
    crop = st.query_params.get("crop")
    if upload is not None:
        show_answer(resources.query_of(upload, model), upload, "Uploaded picture", cameras)
    elif crop is not None:
        row = resources.crops_of(model, (crop,))[0]
        caption = f"{row['camera']}, {moment(row['time'], row['offset_s'])}"
        show_answer(Query(crops=(crop,), model=model), decode_image(row["image"]), caption, cameras)
    else:
        show_picker(model, cameras)


def show_picker(model: str, cameras: list[str]) -> None:
    """Offer the people of the archive, and a place to put a picture."""
    stored, uploaded = st.tabs([":material/grid_view: From the archive", ":material/upload: Upload a picture"])
    with stored:
        camera = st.selectbox("Camera", [EVERYWHERE, *cameras], width=320, key="camera")
        people, more = resources.browsable(model, None if camera == EVERYWHERE else camera)
        show_people(model, people, more)
    with uploaded:
        file = st.file_uploader("A person, or a frame with people in it", type=["jpg", "jpeg", "png", "webp", "bmp"])
        if file is not None:
            show_found(file.getvalue())


def show_people(model: str, people: list[Candidate], more: bool) -> None:
    """Show a page of people with a button each."""
    shown, page, pages = page_of(people, st.session_state.get("page", 0), PICKS_A_ROW * PICK_ROWS)
    count = f"{'The first ' if more else ''}{len(people):,} sightings · page {page + 1:,} of {pages:,}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(":material/chevron_left:", help="Page before", disabled=page == 0, on_click=turn_to, args=(page - 1,))
        st.button(
            ":material/chevron_right:", help="Next page", disabled=page + 1 >= pages, on_click=turn_to, args=(page + 1,)
        )
        st.caption(count)
    rows = resources.crops_of(model, tuple(person.crop for person in shown))
    columns = st.columns(PICKS_A_ROW)
    for place, (person, row) in enumerate(zip(shown, rows, strict=True)):
        with columns[place % PICKS_A_ROW], st.container(border=True, gap="small"):
            st.image(tile(decode_image(row["image"])), width="stretch")
            st.caption(f"**{person.camera}**  \n{moment(person.time, person.offset_s)}")
            st.button("Find", key=f"pick-{person.crop}", width="stretch", on_click=pick, args=(person.crop,))


def show_found(upload: bytes) -> None:
    """Show the people in an uploaded picture with a button each."""
    try:
        found = resources.people_in(upload)
    except BadInput as error:
        st.error(error.detail, icon=":material/error:")
        return
    columns = st.columns(PICKS_A_ROW)
    for place, image in enumerate(found):
        with columns[place % PICKS_A_ROW], st.container(border=True, gap="small"):
            st.image(tile(image), width="stretch")
            st.button("Find", key=f"found-{place}", width="stretch", on_click=use_upload, args=(image,))


def show_answer(query: Query, image: NDArray[np.uint8], caption: str, cameras: list[str]) -> None:
    """Show the query, what narrows the search, and the ranked crops."""
    with st.sidebar:
        st.image(tile(image), width=140)
        st.caption(caption)
        st.button("New search", icon=":material/arrow_back:", on_click=start_again, width="stretch", key="new-search")
        st.divider()
        chosen = st.multiselect("Cameras", cameras, placeholder=EVERYWHERE)
        top = st.slider("Crops shown", 5, 100, 20, step=5)
        rerank = st.toggle("Re-rank", help="Put the nearest 200 in order by what they have as common neighbours.")
    result = resources.answer(query, Scope(cameras=tuple(chosen) or None), top, rerank)
    st.caption(f"{len(result.hits)} of {result.compared:,} crops, nearest first")
    rows = resources.crops_of(result.model, tuple(hit.crop for hit in result.hits))
    for start in range(0, len(rows), HITS_A_ROW):
        columns = st.columns(HITS_A_ROW)
        for column, hit, row in zip(columns, result.hits[start : start + HITS_A_ROW], rows[start:], strict=False):
            with column, st.container(border=True, gap="small"):
                show_hit(hit, row)


def show_hit(hit: Hit, row: dict[str, Any]) -> None:
    """Show one ranked crop."""
    st.image(tile(decode_image(row["image"])), width="stretch")
    st.markdown(f"**{hit.rank}** · distance {hit.distance:.3f}")
    st.caption(f"**{hit.camera}**  \n{moment(hit.time, hit.offset_s)}")
    if hit.attributes:
        st.caption(described(hit))
    with st.container(horizontal=True, gap="small"):
        if st.button("Frame", key=f"frame-{hit.crop}", help="Show the frame around it"):
            show_frame(row)
        st.button(":material/search:", key=f"next-{hit.crop}", help="Search with it", on_click=pick, args=(hit.crop,))


@st.dialog("The frame around", width="large")
def show_frame(row: dict[str, Any]) -> None:
    """Show the frame that a crop was cut from, or the stored crop where the frame cannot be had any more."""
    box = [row[side] for side in "xywh"]
    st.markdown(f"**{row['camera']}** · {moment(row['time'], row['offset_s'])}")
    try:
        with st.spinner("Reading the archive"):
            frame = frame_of(row)
        whole = fills(box, (frame.shape[0], frame.shape[1]))
        st.image(frame if whole else with_box(frame, box))
        if whole:
            st.caption("The archive holds this crop on its own, without a frame around it.")
    except BadInput as error:
        st.warning(error.detail, icon=":material/link_off:")
        st.image(tile(decode_image(row["image"])))
    place = "" if row["frame"] < 0 else f", frame {row['frame']:,}"
    st.caption(f"{row['input']}{place} · {row['frame_width']}x{row['frame_height']} pixels")


def pick(crop: str) -> None:
    """Search with a stored crop."""
    st.session_state.pop("upload", None)
    st.query_params["crop"] = crop


def use_upload(image: NDArray[np.uint8]) -> None:
    """Search with an uploaded crop."""
    st.query_params.clear()
    st.session_state["upload"] = image


def start_again() -> None:
    """Forget the query."""
    st.session_state.pop("upload", None)
    st.query_params.clear()


def turn_to(page: int) -> None:
    """Turn to another page of people."""
    st.session_state["page"] = page


if __name__ == "__main__":
    try:
        main()
    except VestigoError as error:
        st.error(str(error), icon=":material/error:")
