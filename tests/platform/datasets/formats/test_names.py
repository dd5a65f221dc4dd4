from __future__ import annotations

import pytest

from vestigo.datasets.formats.names import parse_name


@pytest.mark.parametrize(
    ("name", "pid", "camera"),
    [
        ("0002_c1s1_000451_03.jpg", 2, 1),
        ("-1_c6s4_000451_03.jpg", -1, 6),
        ("0001_c2_f0046182.jpg", 1, 2),
        ("0001_c1_1_01.png", 1, 1),
        ("0001_c1_1.png", 1, 1),
        ("1203_c15_0007.jpg", 1203, 15),
        ("0001_c012.png", 1, 12),
        ("0000_000_01_0303morning_0015_0.jpg", 0, 1),
        ("1040_012_15_0302afternoon_1172_1_ex.jpg", 1040, 15),
    ],
)
def test_names_of_public_datasets_tell_identity_and_camera(name: str, pid: int, camera: int) -> None:
    assert parse_name(name) == (pid, camera)


@pytest.mark.parametrize("name", ["holiday.jpg", "0001.jpg", "c1_0001.jpg", "2026_01_01_120000.jpg", "0001_cam1.jpg"])
def test_other_names_tell_nothing(name: str) -> None:
    assert parse_name(name) is None
