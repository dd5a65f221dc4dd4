"""Adaptation on two workers of Ray Train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.models.adaptation.test_adapt import CONFIG, draw_crops
from tests.support.random_models import random_model
from vestigo_models.errors import UsageError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.progress import ignore_stages
from vestigo_workers.adaptation.fit import adapt_package

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.usefixtures("ray_cluster")]


def test_two_workers_adapt_together(tmp_path: Path) -> None:
    base, crops = random_model(tmp_path / "base"), draw_crops(tmp_path / "crops")
    settings = {"workers": 2, "device": "cpu", "open_progress": ignore_stages, "trained_on": {}}
    adapt_package(base, crops, CONFIG, tmp_path / "out", **settings)
    facts = ModelPackage.from_pretrained(tmp_path / "out").config.trained_on["adaptation"]
    assert [record["epoch"] for record in facts["epochs"]] == [0, 1, 2]
    assert all(np.isfinite(list(record["losses"].values())).all() for record in facts["epochs"])
    # The workers' errors are those of one process.
    impossible = CONFIG.model_copy(update={"min_crops": 81})
    with pytest.raises(UsageError, match="form 0 clusters"):
        adapt_package(base, crops, impossible, tmp_path / "none", **settings)
