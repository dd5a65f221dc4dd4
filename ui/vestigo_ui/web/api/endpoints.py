"""The endpoints of the server: sign-in, search, images of crops, and the server's state."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from vestigo.resolve import find_registered
from vestigo_models.errors import ConfigError, StoreError, StoreUnavailable, UsageError
from vestigo_models.shipped import shipped_name
from vestigo_ui.cli.output import json_text
from vestigo_ui.web.api.messages import SearchBody, SignInBody, parse_body
from vestigo_ui.web.api.refusal import ApiRefusal, read_body
from vestigo_ui.web.auth.sign_in import CLOSED

if TYPE_CHECKING:
    from vestigo_models.arrays import UInt8Array
    from vestigo_models.parsing.base import Parser
    from vestigo_ui.search.warm import WarmSearch
    from vestigo_ui.web.auth.sessions import Session
    from vestigo_ui.web.auth.sign_in import SignIn
    from vestigo_ui.web.settings import Settings

MAX_BODY = 16 * 2**20
"""Bytes of a search, about 12 MB of images."""
MAX_SIGN_IN = 16_384
MAX_REQUESTS = 16
"""Requests at the same time; others are refused with status 503."""
TRUE = {"1", "true", "yes"}
log = logging.getLogger(__name__)


class Endpoints:
    """The handlers of requests; those with a `session` run for signed-in users only."""

    def __init__(self, warm: WarmSearch, sign_in: SignIn, settings: Settings) -> None:
        self._warm = warm
        self._sign_in = sign_in
        self._settings = settings
        self._threads = CapacityLimiter(MAX_REQUESTS)
        self._parser: Parser | None = None
        self._loading = threading.Lock()

    async def health(self, _request: Request) -> Response:
        """Return that the server runs."""
        return json_response({"status": "ok"})

    async def sign_in(self, request: Request) -> Response:
        """Begin a session, after its audit entry is committed."""
        body: SignInBody = parse_body(SignInBody, await read_body(request, MAX_SIGN_IN))
        name = body.name.strip()
        account = await self._sign_in.verify_password(request, name, body.password)
        if not await self._sign_in.record(request, "sign-in", name, by="password"):
            raise ApiRefusal(503, CLOSED)
        sessions = self._sign_in.sessions
        token = sessions.begin(name, account.role, "password", account.version)
        session = sessions.find(token)
        if session is None:
            raise ApiRefusal(503, CLOSED)
        expires = datetime.fromtimestamp(session.expires, UTC).isoformat(timespec="seconds")
        return json_response({"token": token, "user": name, "role": account.role, "expires": expires}, status=201)

    async def sign_out(self, request: Request, session: Session) -> Response:
        """End a session, copies of its token included."""
        try:
            await to_thread.run_sync(self._sign_in.sessions.end, session)
        except ConfigError as error:
            log.error("a session cannot be ended: %s", error)
            raise ApiRefusal(503, "The session cannot be ended at the moment.") from error
        await self._sign_in.record(request, "sign-out", session.user)
        return Response(status_code=204)

    async def search(self, request: Request, session: Session) -> Response:
        """Search the store, and record the search before it is answered."""
        data = await read_body(request, MAX_BODY)

        def search() -> str:
            body: SearchBody = parse_body(SearchBody, data)
            self._require_grounds(body.case, body.authority)
            answer = self._warm.answer(body.to_request(self._model(body.model)))
            text = json_text(answer.to_json())
            answer.record(self._warm.store, session.user, case=body.case, authority=body.authority)
            return text

        return Response(await to_thread.run_sync(search, limiter=self._threads), media_type="application/json")

    async def crop(self, request: Request, session: Session) -> Response:
        """Return the image of a crop, and record the view before."""
        values = request.query_params
        crop, case, authority = request.path_params["crop"], values.get("case"), values.get("authority")
        blur = self._settings.privacy.blur
        is_blurred = blur == "always" or (blur == "optional" and values.get("blur", "").lower() in TRUE)

        def view() -> bytes:
            self._require_grounds(case, authority)
            store = self._warm.store
            try:
                (row,) = store.crops.get([crop], ["image"])
            except StoreUnavailable:
                raise
            except StoreError as error:
                raise ApiRefusal(404, str(error)) from None
            image: bytes = self._blur(row["image"]) if is_blurred else row["image"]
            store.audit.record(session.user, "view", details={"crop": crop}, case=case, authority=authority)
            return image

        return Response(await to_thread.run_sync(view, limiter=self._threads), media_type="image/jpeg")

    def _require_grounds(self, case: str | None, authority: str | None) -> None:
        required = self._settings.audit
        if required.require_case and not (case or "").strip():
            raise UsageError("case: this server requires a case number with each request; give one")
        if required.require_authority and not (authority or "").strip():
            raise UsageError("authority: this server requires an authorisation with each request; give its reference")

    def _model(self, reference: str | None) -> str | None:
        """Return a reference to a model of the store or a shipped one; others name files and addresses."""
        if reference is None or shipped_name(reference) is not None:
            return reference
        return find_registered(self._warm.store, reference).digest

    def _blur(self, image: bytes) -> bytes:
        from vestigo_models.inference.anonymize import anonymize_crops
        from vestigo_models.inference.images import decode_image, encode_jpeg
        from vestigo_models.parsing.small import EmbeddedParser

        crop: UInt8Array = decode_image(image)
        with self._loading:
            if self._parser is None:
                self._parser = EmbeddedParser.from_pretrained("default", batch_size=1)
        return encode_jpeg(anonymize_crops([crop], self._parser)[0])


def json_response(values: dict[str, Any], *, status: int = 200) -> Response:
    """Return a response with JSON as the command line prints it."""
    return Response(json_text(values), status, media_type="application/json")
