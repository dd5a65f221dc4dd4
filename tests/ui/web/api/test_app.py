"""The server over HTTP: sign-in, searches as on the command line, images of crops, refusals, and the audit log."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from sqlalchemy.exc import OperationalError

from tests.support.query_server import VIEWER, QueryServer, entries, refused, serve_store
from tests.ui.conftest import Archive
from vestigo.store.open import Store
from vestigo_models.errors import StoreUnavailable
from vestigo_models.inference.images import decode_image
from vestigo_ui.cli.main import run
from vestigo_ui.search.warm import WarmSearch
from vestigo_ui.web.api import app, endpoints, messages

STRANGER = "f" * 20


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def plain(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "seconds"}


def test_search_gives_the_json_of_the_command(
    server: QueryServer, archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = [row["crop_id"] for row in archive.crops]
    frame = next(archive.footage.glob("gate-*.png"))
    since, until = "2026-05-01T08:00:01", "2026-05-01T10:00:03+02:00"
    requests: list[tuple[dict[str, Any], list[Any]]] = [
        ({"crops": crops[:2], "top": 3}, [*crops[:2], "--top", 3]),
        ({"images": [encoded(frame)], "box": "10,10,40,90"}, [frame, "--box", "10,10,40,90"]),
        ({"crops": crops[:1], "images": [encoded(frame)], "rerank": True}, [crops[0], frame, "--rerank"]),
        (
            {"crops": crops[:1], "filter": "strict", "model": "default"},
            [crops[0], "--filter=strict", "--model=default"],
        ),
        ({"where": "gender=male"}, ["--where", "gender=male"]),
        (
            {"crops": crops[:1], "cameras": ["hall"], "from": since, "to": until, "where": "gender=male"},
            [crops[0], "--cameras=hall", f"--from={since}", f"--to={until}", "--where", "gender=male"],
        ),
    ]
    client = server.client("viewer")
    for body, arguments in requests:
        answer = client.post("/v1/search", json=body)
        assert answer.status_code == 200, answer.text
        assert run(["search", *map(str, arguments), "--store", str(archive.store), "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert plain(answer.json()) == plain(printed)
        assert list(answer.json()) == list(printed)
        by_user, by_command = entries(server, "search")[-2:]
        assert by_user.user == "viewer"
        assert by_user.snapshot == by_command.snapshot
        changed = {"query_files", "query_uploads"}
        assert {name: value for name, value in by_user.details.items() if name not in changed} == {
            name: value for name, value in by_command.details.items() if name not in changed
        }


def test_search_is_recorded_once_with_its_grounds(server: QueryServer, archive: Archive) -> None:
    crop = archive.crops[0]["crop_id"]
    body = {"crops": [crop], "case": "12/26", "authority": "order 7", "top": 2}
    shown = server.client("viewer").post("/v1/search", json=body).json()
    (entry,) = entries(server, "search")
    assert (entry.user, entry.case, entry.authority) == ("viewer", "12/26", "order 7")
    assert entry.details["crops"] == [hit["crop"] for hit in shown["results"]]
    assert entry.details["query_crops"] == [crop]


def test_search_that_is_not_recorded_is_not_shown(
    server: QueryServer, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client("viewer")

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("insert", {}, Exception("database at 10.0.0.7 is gone"))

    monkeypatch.setattr(server.store.database, "change", fail)
    for answer in (
        client.post("/v1/search", json={"crops": [archive.crops[0]["crop_id"]]}),
        client.get(f"/v1/crops/{archive.crops[0]['crop_id']}"),
    ):
        error = refused(answer, 503)
        assert error.startswith("The store does not answer")
        assert "10.0.0.7" not in error
    monkeypatch.undo()
    assert entries(server, "search", "view") == []


def test_outage_gives_503(server: QueryServer, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client("viewer")

    def fail(*_: object) -> None:
        raise StoreUnavailable("catalogue postgresql://ana:secret@db/x does not answer")

    monkeypatch.setattr(type(server.store.models), "serving", fail)
    answer = client.post("/v1/search", json={"crops": [archive.crops[0]["crop_id"]]})
    assert "secret" not in refused(answer, 503)
    assert answer.headers["retry-after"] == "5"


def test_fault_gives_500_without_its_text(
    server: QueryServer, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client("viewer")

    def fail(*_: object) -> None:
        raise RuntimeError("private")

    monkeypatch.setattr(server.warm, "answer", fail)
    answer = client.post("/v1/search", json={"crops": [archive.crops[0]["crop_id"]]})
    assert refused(answer, 500) == "The server failed. Its output names the reason."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "the search has no query: give an image, the id of a crop, or --where"),
        ({"crops": ["x"]}, "'x' is neither an image file nor the id of a crop"),
        ({"crops": [STRANGER]}, f"crop {STRANGER} is not in the store"),
        ({"crops": [STRANGER] * 33}, "crops: "),
        ({"crops": STRANGER}, "crops: 'ffffffffffffffffffff' is not valid: Input should be a valid array"),
        ({"crops": [STRANGER], "top": 0}, "top: 0 is not valid: Input should be greater than or equal to 1"),
        ({"crops": [STRANGER], "top": 1001}, "top: 1001 is not valid: Input should be less than or equal to 1000"),
        ({"crops": [STRANGER], "tops": 3}, "tops: no such key; see /v1/openapi.json"),
        ({"crops": [STRANGER], "box": "1,2,3,4"}, "--box is the place of a person in one image, but 0 images"),
        ({"images": ["IMAGE"], "box": "1,2,3"}, "box '1,2,3' is not x,y,w,h in pixels"),
        ({"images": ["IMAGE"], "box": "9000,1,3,4"}, "lies outside the frame"),
        ({"images": ["IMAGE"] * 9}, "images: "),
        ({"images": ["%%%"]}, "images.0: '%%%' is not valid: give the bytes of an image file in base64"),
        ({"images": [7]}, "images.0: 7 is not valid: give the bytes of an image file in base64"),
        ({"images": ["bm8gaW1hZ2U="]}, "image 1: "),
        ({"images": [""]}, "image 1: the file holds no byte (empty-file)"),
        ({"crops": ["CROP"], "from": "yesterday"}, "--from 'yesterday' is not a time"),
        ({"crops": ["CROP"], "from": "2026-05-02", "to": "2026-05-01"}, "is not before"),
        ({"crops": ["CROP"], "cameras": ["gatte"]}, 'Unknown camera "gatte". Cameras in this store: gate, hall'),
        ({"crops": ["CROP"], "where": "backpack=maybe"}, "backpack"),
        ({"crops": ["CROP"], "filter": "nothing"}, "filter 'nothing': give off, strict"),
        ({"crops": ["CROP"], "max_lost": 2}, "--max-lost 2: give a share of true matches between 0 and 1"),
        ({"crops": ["CROP"], "model": "hub:owner/model"}, "hub:owner/model"),
        ({"crops": ["CROP"], "model": "/etc"}, "/etc"),
        ({"crops": ["CROP"], "case": "x" * 201}, "case number"),
        ({"where": "gender=male", "rerank": True}, "--filter and --rerank compare with a query"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else None,
)
def test_bad_input_is_one_line(
    refusing: tuple[QueryServer, httpx.Client],
    pristine: Archive,
    body: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, client = refusing
    monkeypatch.setattr("vestigo.resolve.open_model", lambda *_: pytest.fail("a model from outside was opened"))
    places = {"CROP": pristine.crops[0]["crop_id"], "IMAGE": encoded(next(pristine.footage.glob("*.png")))}
    replaced = {
        name: [places.get(item, item) for item in value] if isinstance(value, list) else value
        for name, value in body.items()
    }
    assert message in refused(client.post("/v1/search", json=replaced), 400)
    assert entries(server, "search") == []


def test_body_must_be_small_json(server: QueryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client("viewer")
    assert "no JSON object" in refused(
        client.post("/v1/search", content=b"{", headers={"Content-Type": "application/json"}), 400
    )
    assert "send application/json" in refused(client.post("/v1/search", content=b"{}"), 415)
    assert "send application/json" in refused(client.post("/v1/search", files={"image": b"x"}), 415)
    monkeypatch.setattr(endpoints, "MAX_BODY", 1000)
    parts = (b" " * 400 for _ in range(10))
    for content in (b" " * 1001, parts):
        answer = client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})
        assert "more than 1,000 bytes" in refused(answer, 413)


def test_pixels_are_limited(server: QueryServer, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_PIXELS", 100)
    body = {"images": [encoded(next(archive.footage.glob("*.png")))]}
    assert "pixels, more than 100; scale it down" in refused(server.client("viewer").post("/v1/search", json=body), 400)


def test_image_of_crop_is_recorded(server: QueryServer, archive: Archive) -> None:
    row = archive.crops[3]
    query = {"case": "12/26", "authority": "order 7"}
    answer = server.client("viewer").get(f"/v1/crops/{row['crop_id']}", params=query)
    assert (answer.headers["content-type"], answer.content) == ("image/jpeg", row["image"])
    (entry,) = entries(server, "view")
    assert (entry.user, entry.case, entry.authority) == ("viewer", "12/26", "order 7")
    assert entry.details == {"crop": row["crop_id"]}
    for crop in (STRANGER, "x"):
        assert f"crop {crop} is not in the store" in refused(server.client("viewer").get(f"/v1/crops/{crop}"), 404)
    assert len(entries(server, "view")) == 1


@pytest.mark.parametrize(("blur", "query", "hidden"), [("always", {}, True), ("optional", {"blur": "true"}, True)])
def test_heads_are_hidden(archive: Archive, tmp_path: Path, blur: str, query: dict[str, str], hidden: bool) -> None:
    row = max(archive.crops, key=lambda row: row["quality"])
    with serve_store(archive.store, tmp_path, people=VIEWER, configured={"privacy": {"blur": blur}}) as server:
        image = server.client("viewer").get(f"/v1/crops/{row['crop_id']}", params=query).content
    assert image != row["image"]
    assert decode_image(image).shape == decode_image(row["image"]).shape


def test_required_grounds_are_asked_for(archive: Archive, tmp_path: Path) -> None:
    crop = archive.crops[0]["crop_id"]
    required = {"audit": {"require_case": True, "require_authority": True}}
    with serve_store(archive.store, tmp_path, people=VIEWER, configured=required) as server:
        client = server.client("viewer")
        assert refused(client.post("/v1/search", json={"crops": [crop], "case": " "}), 400).startswith("case: ")
        assert refused(client.get(f"/v1/crops/{crop}?case=7"), 400).startswith("authority: ")
        assert entries(server, "search", "view") == []
        grounds = {"case": "7", "authority": "order"}
        assert client.post("/v1/search", json={"crops": [crop], **grounds}).status_code == 200
        assert client.get(f"/v1/crops/{crop}", params=grounds).status_code == 200


def test_requests_at_the_same_time(server: QueryServer, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two searches run at once; further requests are refused and not queued without end."""
    monkeypatch.setattr(app, "MAX_REQUESTS", 2)
    inside, go_on = threading.Barrier(3, timeout=60), threading.Event()
    answer = WarmSearch.answer

    def wait(*arguments: Any) -> Any:
        inside.wait()
        assert go_on.wait(60)
        return answer(*arguments)

    monkeypatch.setattr(WarmSearch, "answer", wait)
    client = server.client("viewer")
    statuses: list[int] = []

    def search(crop: str) -> None:
        statuses.append(client.post("/v1/search", json={"crops": [crop]}).status_code)

    threads = [threading.Thread(target=search, args=(row["crop_id"],)) for row in archive.crops[:2]]
    for thread in threads:
        thread.start()
    inside.wait()
    busy = client.post("/v1/search", json={"crops": [STRANGER]})
    assert refused(busy, 503).startswith("The server answers")
    assert client.get("/v1/health").json() == {"status": "ok"}
    go_on.set()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200]
    assert len(entries(server, "search")) == 2


def test_health_and_description_tell_nothing_of_the_archive(server: QueryServer) -> None:
    client = server.client()
    assert client.get("/v1/health").json() == {"status": "ok"}
    answer = client.get("/v1/openapi.json")
    for private in (server.store.ref, "gate", "small", "viewer"):
        assert private not in answer.text
    assert entries(server, "search", "view", "sign-in") == []


def test_description_is_valid_and_names_every_route(server: QueryServer) -> None:
    document = server.client().get("/v1/openapi.json").json()
    validate(document)
    operations = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert operations == {
        ("GET", "/v1/health"),
        ("POST", "/v1/session"),
        ("DELETE", "/v1/session"),
        ("POST", "/v1/search"),
        ("GET", "/v1/crops/{crop}"),
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            address = path.replace("{crop}", STRANGER)
            status = server.client().request(method.upper(), address, json={}).status_code
            assert (status == 401) == bool(operation["security"])
            assert str(status) in operation["responses"]
    search = document["components"]["schemas"]["SearchBody"]
    assert search["properties"]["images"]["items"] == {"type": "string"}
    assert search["additionalProperties"] is False
    assert {"from", "to", "max_lost"} <= search["properties"].keys()
    assert document["components"]["schemas"]["HitJson"]["properties"]["distance"] == {
        "title": "Distance",
        "type": "number",
    }


def test_every_response_has_security_headers(server: QueryServer, archive: Archive) -> None:
    client = server.client("viewer")
    for answer in (
        client.get("/v1/health"),
        client.get("/v1/openapi.json"),
        client.get(f"/v1/crops/{archive.crops[0]['crop_id']}"),
        client.post("/v1/search", json={"where": "gender=male"}),
        client.post("/v1/search", json={}),
        client.get("/nowhere"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers or answer.headers["server"] == "uvicorn"


def test_unknown_addresses_are_refused_in_one_line(server: QueryServer) -> None:
    client = server.client("viewer")
    assert refused(client.get("/v1/search"), 405) == "GET /v1/search: Method Not Allowed; see /v1/openapi.json"
    assert refused(client.get("/docs"), 404) == "GET /docs: Not Found; see /v1/openapi.json"


def test_store_without_crops_is_served(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()
    with serve_store(tmp_path / "store", tmp_path, people=VIEWER) as server:
        answer = server.client("viewer").post("/v1/search", json={"where": "gender=male"})
        assert refused(answer, 400).startswith("the store is empty; fill it with: vestigo index")
