from __future__ import annotations

import json
from pathlib import Path

import pytest

from vestigo.store.audit.records import query_key
from vestigo_models.errors import UsageError
from vestigo_ui.cli.options import ArchivePart, SearchedModel
from vestigo_ui.search.request import QueryImage, SearchRequest, read_views

CROP = "0" * 20


def test_request_survives_transfer() -> None:
    request = SearchRequest(
        crops=(CROP, "1" * 20),
        kept=(CROP,),
        images=(QueryImage(name="a.jpg", data=b"\xff\x00"), QueryImage(name="b", data=b"", is_upload=True)),
        box="1,2,3,4",
        top=7,
        rerank=True,
        searched=SearchedModel(model="m", where="hat=yes", filter="0.9", max_lost=0.02),
        part=ArchivePart(cameras=["gate, left"], since="2026-05-01", until="2026-05-02"),
    )
    assert SearchRequest.from_json(json.loads(json.dumps(request.to_json()))) == request
    assert SearchRequest.from_json(json.loads(json.dumps(SearchRequest().to_json()))) == SearchRequest()


def test_paths_are_absolute_in_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "schema.yaml").touch()
    monkeypatch.chdir(tmp_path)
    request = SearchRequest(searched=SearchedModel(model="model", schema="schema.yaml"))
    searched = SearchRequest.from_json(request.to_json()).searched
    assert (searched.model, searched.schema) == (str(tmp_path / "model"), str(tmp_path / "schema.yaml"))


def test_files_are_images_and_other_words_are_crops(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"bytes")
    crops, images = read_views([CROP, str(tmp_path / "a.jpg")])
    assert crops == (CROP,)
    assert images == (QueryImage(name=str(tmp_path / "a.jpg"), data=b"bytes"),)


def test_file_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vestigo_models.inference.image_files.MAX_BYTES", 3)
    (tmp_path / "a.jpg").write_bytes(b"bytes")
    with pytest.raises(UsageError, match="5 bytes, more than 3; scale it down"):
        read_views([str(tmp_path / "a.jpg")])


def test_audit_details_name_files_and_digest_uploads() -> None:
    file, upload = QueryImage(name="a.jpg", data=b"a"), QueryImage(name="image 1", data=b"b", is_upload=True)
    details = SearchRequest(images=(file, upload), searched=SearchedModel(where="hat=yes")).query_details()
    assert details == {
        "query": query_key(images=[b"a", b"b"]),
        "query_files": ["a.jpg"],
        "query_uploads": ["3e23e8160039594a"],
        "where": "hat=yes",
    }
    assert SearchRequest(searched=SearchedModel(where="hat=yes")).query_details() == {
        "query": query_key(where="hat=yes"),
        "where": "hat=yes",
    }
