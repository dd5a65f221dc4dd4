from __future__ import annotations

import pytest
import torch

from vestigo_models import devices
from vestigo_models.devices import pin_device, resolve_device
from vestigo_models.errors import ConfigError


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices, "_is_pinned", False)


def test_numbers_of_devices_are_checked() -> None:
    assert [resolve_device(name) for name in ("auto", "cpu", "cuda", "cuda:1")] == ["cuda", "cpu", "cuda", "cuda:1"]
    with pytest.raises(ConfigError, match=r"device 'cuda:2': torch finds 2 CUDA devices here, cuda:0 to cuda:1$"):
        resolve_device("cuda:2")


def test_process_with_its_own_gpu_uses_it_whatever_number_is_named() -> None:
    pin_device()
    assert [resolve_device(name) for name in ("cuda:7", "cuda", "cpu", "auto")] == ["cuda", "cuda", "cpu", "cuda"]
