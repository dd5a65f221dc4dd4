"""A client of the server that is no browser: it signs in, and speaks Streamlit's protocol over the websocket."""

from __future__ import annotations

import re

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from tests.support.signed_in import PASSWORD, PATIENCE_S

TOKEN = re.compile(r'name="token" value="([^"]+)"')
MEDIA = re.compile(rb"/media/[0-9a-f]+\.\w+")


def visitor(url: str, cookie: str = "") -> httpx.Client:
    """Return a client of the server at `url`."""
    return httpx.Client(base_url=url, timeout=PATIENCE_S, headers={"Cookie": cookie} if cookie else {})


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD, following: str = "/") -> httpx.Response:
    """Fill in the form; the client keeps the cookies."""
    token = TOKEN.search(client.get("/sign-in").text)
    assert token is not None
    fields = {"token": token[1], "next": following, "name": name, "password": password}
    return client.post("/sign-in", data=fields)


def cookie_of(client: httpx.Client) -> str:
    """Return the client's cookies as a header."""
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


def socket(url: str, cookie: str = "", origin: str | None = None, **headers: str) -> ClientConnection:
    """Open the app's websocket. Raises InvalidStatus where it is refused."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | ({"Cookie": cookie} if cookie else {})
    return connect(
        f"{url.replace('http', 'ws')}/_stcore/stream",
        origin=origin if origin is not None else url,
        additional_headers=sent,
        subprotocols=["streamlit"],
        open_timeout=PATIENCE_S,
        max_size=None,
    )


def rerun(connection: ClientConnection) -> tuple[bytes, str]:
    """Run the script; return all that came back until it had finished, and the id of Streamlit's session."""
    message = BackMsg()
    message.rerun_script.query_string = ""
    connection.send(message.SerializeToString())
    got, session = bytearray(), ""
    while True:
        data = connection.recv(timeout=PATIENCE_S)
        assert isinstance(data, bytes)
        got += data
        parsed = ForwardMsg.FromString(data)
        if parsed.WhichOneof("type") == "new_session":
            session = parsed.new_session.initialize.session_id
        if parsed.WhichOneof("type") == "script_finished":
            return bytes(got), session


def looked_at(url: str, cookie: str, **headers: str) -> tuple[bytes, str]:
    """Open the websocket, run the script once, and close it."""
    with socket(url, cookie, **headers) as connection:
        return rerun(connection)
