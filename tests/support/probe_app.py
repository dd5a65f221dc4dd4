"""A script for the server that shows data that must not leak, and the user of the request."""

from __future__ import annotations

import numpy as np
import streamlit as st

from vestigo_ui.web.auth.identity import find_user
from vestigo_ui.web.settings import current_settings

CROP, CAMERA = "c0ffee0123456789abcd", "north gate"

headers = st.context.headers
user = find_user(headers)
st.write(f"headers: {headers.get('x-vestigo-user')} {headers.get('x-vestigo-role')} {headers.get('x-vestigo-session')}")
st.write("no user" if user is None else f"user: {user.name} {user.role} {user.session}")
st.write(f"blur: {current_settings().privacy.blur}")
st.write(f"crop {CROP} seen by {CAMERA}")
st.image(np.full((40, 40, 3), 77, np.uint8))
st.download_button("Export", f"{CROP},{CAMERA}".encode(), file_name="crops.csv")
uploaded = st.file_uploader("A picture")
if uploaded is not None:
    st.write(f"uploaded {len(uploaded.getvalue())} bytes")
