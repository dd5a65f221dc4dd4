import pytest

from vestigo.vectors import index


@pytest.fixture
def cameras_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances in these tests are those of the descriptors as they are; tests of the vector index have bias."""
    monkeypatch.setattr(index, "camera_sums", lambda _index, _packs: {})
