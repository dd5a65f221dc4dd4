"""What `vestigo retrain` prints of its test data. tests/end_to_end/test_review_loop.py runs whole trainings."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from vestigo_ui.cli.commands.retrain import run_retraining
from vestigo_workers.retraining import candidate


def test_notes_of_test_data_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    held_out = "no test split: 30 of 150 training identities are held out"
    made = SimpleNamespace(notes=(held_out,))
    monkeypatch.setattr(candidate, "retrain_candidate", lambda *_: made)
    unused = cast(Any, None)
    assert run_retraining(unused, unused) is made
    assert held_out in capsys.readouterr().err
