"""Label maps of a dataset's images on executors: files, failures and comparisons are those of one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.drawn_people import drawn, write_model, write_people
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.synthetic import write_rendered
from vestigo.evaluation.fls import FusionEvaluator
from vestigo_models.errors import UsageError, WorkError
from vestigo_models.fls.config import FlsConfig
from vestigo_workers.regions import images as images_module
from vestigo_workers.regions.folder import group_by_identity, source_images
from vestigo_workers.regions.images import FolderResult, ImageLabeller, label_images
from vestigo_workers.regions.plan import FinderSettings

CONFIG = FlsConfig(foreground="classifier")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), regions=True)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return rendered people with an unreadable image in the gallery."""
    root = tmp_path_factory.mktemp("data") / "people"
    write_rendered(root, "small", 8, 2, 2, seed=11, processes=1)
    load_dataset(root).gallery.paths[2].write_text("a text")
    return root


def label(people: Path, model: Path, out: Path, **choices: Any) -> tuple[FolderResult, dict[str, bytes], Any]:
    """Label the gallery with panels, and compare it; return the result, the files, and the comparison."""
    settings = FinderSettings.model_validate({"model": str(model), "fls": CONFIG, "device": "cpu", **choices})
    judge = FusionEvaluator(load_dataset(people), CONFIG)
    images = source_images(people, out, "gallery")
    reports: list[tuple[int, int | None]] = []
    result = label_images(
        images, out, settings, panels=True, judge=judge, progress=lambda done, total: reports.append((done, total))
    )
    assert reports[-1] == (len(images), len(images))
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return result, files, judge.result()


@pytest.mark.parametrize(
    "choices",
    [
        {"executor": "inline", "shard_size": 1},
        {"executor": "inline", "shard_size": 5},
        pytest.param(
            {"executor": "ray", "actors": 2, "shard_size": 3}, marks=[pytest.mark.ray, pytest.mark.slow], id="ray"
        ),
    ],
)
def test_maps_do_not_depend_on_executor_and_shards(
    choices: dict[str, Any], people: Path, model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if choices["executor"] == "ray":
        request.getfixturevalue("ray_cluster")
    expected, files, judged = label(people, model, tmp_path / "one", executor="inline")
    result, others, again = label(people, model, tmp_path / "two", **choices)
    assert result == expected
    assert [failure["reason"] for failure in result.failures] == ["not-an-image"]
    assert others == files
    assert len(files) > 2 * 8
    assert again == judged
    assert again["fls"].regions.images > 0


def test_groups_of_batches_are_never_cut(people: Path, tmp_path: Path) -> None:
    groups = group_by_identity(source_images(people, tmp_path))
    batches = list(images_module._cut_groups(groups, 3))
    assert [group for batch in batches for group in batch.inputs] == [
        tuple(image.path for image in group) for group in groups
    ]
    assert [batch.first for batch in batches] == [
        sum(len(earlier.inputs) for earlier in batches[:place]) for place in range(len(batches))
    ]
    assert all(len(batch.inputs) == 1 or sum(map(len, batch.inputs)) <= 3 for batch in batches)
    assert list(images_module._cut_groups([], 3)) == []


@dataclass(frozen=True)
class FragileLabeller:
    """Fails at some files as a worker does that dies."""

    inner: ImageLabeller
    deadly: tuple[str, ...]

    def process(self, batch: Any) -> Any:
        if any(path.stem in self.deadly for group in batch.inputs for path in group):
            raise RuntimeError("dead")
        return self.inner.process(batch)


@pytest.fixture
def break_labeller(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def replace(*deadly: str) -> None:
        monkeypatch.setattr(
            images_module, "ImageLabeller", lambda *arguments: FragileLabeller(ImageLabeller(*arguments), deadly)
        )

    return replace


def test_identity_that_kills_workers_is_a_failure(tmp_path: Path, break_labeller: Callable[..., None]) -> None:
    names = ["0007_c1s1_000001_00", "0007_c2s1_000002_00", "0008_c1s1_000001_00", "other"]
    people = write_people(tmp_path / "people", {name: drawn() for name in names}, tmp_path / "maps")
    settings = FinderSettings.model_validate({"parser": f"labels:{tmp_path / 'maps'}", "executor": "inline"})
    break_labeller("0007_c2s1_000002_00")
    images = source_images(people, tmp_path / "out")
    result = label_images(images, tmp_path / "out", settings)
    assert [(Path(failure["image"]).stem, failure["reason"]) for failure in result.failures] == [
        (name, "worker-died") for name in names[:2]
    ]
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == names[2:]
    break_labeller(*names)
    with pytest.raises(WorkError, match="workers fail on every input: RuntimeError: dead"):
        label_images(images, tmp_path / "again", settings)


def test_maps_of_another_kind_are_refused(people: Path, model: Path, tmp_path: Path) -> None:
    label(people, model, tmp_path / "out", executor="inline")
    images = source_images(people, tmp_path / "out", "query")
    with pytest.raises(UsageError, match="label maps of another kind"):
        label_images(images, tmp_path / "out", FinderSettings(executor="inline"))
