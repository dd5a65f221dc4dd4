"""SCHP equals the original network's definition on public names (docs/method.md, "Parsing and region merge")."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vestigo_models.errors import ModelError
from vestigo_models.inference.preprocessing import normalise
from vestigo_models.parsing.label_maps import ATR, LABEL_SETS, LIP, PASCAL, ParserLabels, merge, merge_hard, middle_row
from vestigo_models.parsing.registry import make_parser
from vestigo_models.parsing.schp import CE2P, INPUT_SIDE, MEAN, STD, SchpParser, fit, undo

pytestmark = pytest.mark.slow

EPS = 1e-5
State = dict[str, Tensor]


def public_shapes(classes: int, width: int = 64, depths: tuple[int, ...] = (3, 4, 23, 3)) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a public checkpoint without the prefix."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{leaf}"] = (channels,)

    def projection(name: str, channels: int, out: int, kernel: int = 1, at: int = 0) -> None:
        shapes[f"{name}.{at}.weight"] = (out, channels, kernel, kernel)
        norm(f"{name}.{at + 1}", out)

    for index, (channels, out) in enumerate(((3, width), (width, width), (width, 2 * width)), start=1):
        shapes[f"conv{index}.weight"] = (out, channels, 3, 3)
        norm(f"bn{index}", out)
    channels = 2 * width
    for layer, blocks in enumerate(depths, start=1):
        middle = width * 2 ** (layer - 1)
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            shapes[f"{name}.conv1.weight"] = (middle, channels, 1, 1)
            shapes[f"{name}.conv2.weight"] = (middle, middle, 3, 3)
            shapes[f"{name}.conv3.weight"] = (4 * middle, middle, 1, 1)
            norm(f"{name}.bn1", middle)
            norm(f"{name}.bn2", middle)
            norm(f"{name}.bn3", 4 * middle)
            if block == 0:
                projection(f"{name}.downsample", channels, 4 * middle)
            channels = 4 * middle
    top, middle, detail = 32 * width, 4 * width, 3 * width // 4
    for stage in range(4):
        projection(f"context_encoding.stages.{stage}", top, 8 * width, at=1)
    projection("context_encoding.bottleneck", top + 4 * 8 * width, 8 * width, kernel=3)
    for index in (1, 2, 3):
        projection(f"edge.conv{index}", 4 * width * 2 ** (index - 1), middle)
    shapes |= {"edge.conv4.weight": (2, middle, 3, 3), "edge.conv4.bias": (2,)}
    shapes |= {"edge.conv5.weight": (2, 6, 1, 1), "edge.conv5.bias": (2,)}
    projection("decoder.conv1", 8 * width, middle)
    projection("decoder.conv2", 4 * width, detail)
    projection("decoder.conv3", middle + detail, middle)
    projection("decoder.conv3", middle, middle, at=2)
    projection("fushion", 4 * middle, middle)
    for head in ("decoder.conv4", "fushion.3"):
        shapes |= {f"{head}.weight": (classes, middle, 1, 1), f"{head}.bias": (classes,)}
    return shapes


def random_checkpoint(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Return weights with the public prefix; every second weight of a normalisation is negative, as in trained ones."""
    rng = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in shapes.items():
        if name.endswith("running_var"):
            values = torch.rand(shape, generator=rng) + 0.5
        elif len(shape) == 4:
            values = torch.randn(shape, generator=rng) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif name.endswith("weight"):
            values = (torch.rand(shape, generator=rng) * 0.5 + 0.5) * (-1.0) ** torch.arange(shape[0])
        else:
            values = torch.randn(shape, generator=rng) * 0.1
        state[f"module.{name}"] = values
    return state


def original(state: State, x: Tensor, depths: tuple[int, ...]) -> Tensor:
    """Compute the forward pass of A-CE2P with in-place activated normalisation from tensors by public names."""
    held = {name.removeprefix("module."): value for name, value in state.items()}

    def norm(name: str, x: Tensor, *, leaky: bool) -> Tensor:
        weight = (held[f"{name}.weight"].abs() + EPS)[:, None, None]
        mean, var = held[f"{name}.running_mean"][:, None, None], held[f"{name}.running_var"][:, None, None]
        x = (x - mean) / (var + EPS).sqrt() * weight + held[f"{name}.bias"][:, None, None]
        return torch.where(x >= 0, x, 0.01 * x) if leaky else x

    def conv(name: str, x: Tensor, **how: int) -> Tensor:
        return functional.conv2d(x, held[f"{name}.weight"], held.get(f"{name}.bias"), **how)

    def projection(name: str, x: Tensor, *, at: int = 0, padding: int = 0) -> Tensor:
        return norm(f"{name}.{at + 1}", conv(f"{name}.{at}", x, padding=padding), leaky=True)

    def resized(x: Tensor, like: Tensor) -> Tensor:
        return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)

    for index, stride in ((1, 2), (2, 1), (3, 1)):
        x = norm(f"bn{index}", conv(f"conv{index}", x, stride=stride, padding=1), leaky=False).clamp(min=0)
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    maps = []
    for layer, blocks in enumerate(depths, start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            stride = 2 if block == 0 and layer in (2, 3) else 1
            dilation = 2 if layer == 4 else 1
            y = norm(f"{name}.bn1", conv(f"{name}.conv1", x), leaky=False).clamp(min=0)
            y = conv(f"{name}.conv2", y, stride=stride, padding=dilation, dilation=dilation)
            y = norm(f"{name}.bn2", y, leaky=False).clamp(min=0)
            y = norm(f"{name}.bn3", conv(f"{name}.conv3", y), leaky=False)
            if block == 0:
                down = conv(f"{name}.downsample.0", x, stride=stride)
                x = norm(f"{name}.downsample.1", down, leaky=False)
            x = (x + y).clamp(min=0)
        maps.append(x)
    c2, c3, c4, c5 = maps
    pooled = []
    for stage, grid in enumerate((1, 2, 3, 6)):
        cells = functional.adaptive_avg_pool2d(c5, grid)
        pooled.append(resized(projection(f"context_encoding.stages.{stage}", cells, at=1), c5))
    context = projection("context_encoding.bottleneck", torch.cat([*pooled, c5], dim=1), padding=1)
    edges = [projection(f"edge.conv{index}", feature) for index, feature in ((1, c2), (2, c3), (3, c4))]
    edges = [edges[0], *(resized(edge, edges[0]) for edge in edges[1:])]
    detail = projection("decoder.conv2", c2)
    joined = torch.cat([resized(projection("decoder.conv1", context), detail), detail], dim=1)
    features = projection("decoder.conv3", projection("decoder.conv3", joined), at=2)
    fused = projection("fushion", torch.cat([features, *edges], dim=1))
    return conv("fushion.3", fused)


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_names_and_shapes_equal_public_checkpoints(labels: ParserLabels) -> None:
    with torch.device("meta"):
        network = CE2P(len(labels))
    ours = {name: tuple(value.shape) for name, value in network.state_dict().items() if "num_batches" not in name}
    assert ours == public_shapes(len(labels))


def test_forward_pass_equals_original_with_negative_normalisation_weights() -> None:
    depths = (2, 1, 2, 1)
    state = random_checkpoint(public_shapes(7, 8, depths))
    network = CE2P(7, width=8, depths=depths).eval()
    network.load_public(state)
    x = torch.randn(2, 3, 65, 65, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, reference = network(x), original(state, x, depths)
    assert ours.shape == (2, 7, 17, 17)
    torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)


def test_other_checkpoint_is_refused() -> None:
    depths = (1, 1, 1, 1)
    network = CE2P(7, width=8, depths=depths)
    state = random_checkpoint(public_shapes(7, 8, depths))
    del state["module.edge.conv5.bias"]
    with pytest.raises(ModelError, match=r"1 weights are missing, 0 unknown, 0 of another shape .*edge\.conv5\.bias"):
        network.load_public(state)
    with pytest.raises(ModelError, match="2 of another shape"):
        network.load_public(random_checkpoint({**public_shapes(7, 8, depths), "bn1.bias": (9,), "bn2.bias": (9,)}))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the published form, with the Pascal label set and random weights."""
    path = tmp_path_factory.mktemp("schp") / "exp-schp.pth"
    torch.save({"epoch": 150, "state_dict": random_checkpoint(public_shapes(7))}, path)
    return path


def test_public_file_needs_no_conversion(checkpoint: Path) -> None:
    parser = make_parser(f"schp:{checkpoint}")
    assert parser.label_set is PASCAL
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, size, dtype=np.uint8) for size in ((128, 64, 3), (61, 90, 3))]
    for image in images:
        parsed = parser.parse(image, "person.jpg")
        assert parsed.labels.shape == image.shape[:2]
        assert parsed.labels.max() < 7
        np.testing.assert_allclose(parsed.regions.sum(axis=0), 1, atol=1e-5)
    assert make_parser(f"schp:{checkpoint}:pascal").digest == parser.digest
    with pytest.raises(ModelError, match="7 classes, not those of lip"):
        make_parser(f"schp:{checkpoint}:lip")


def test_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "parser.pth"
    path.write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"parser\.pth"):
        SchpParser.load(str(path))
    torch.save({"state_dict": {"conv.weight": torch.zeros(1)}}, path)
    with pytest.raises(ModelError, match="it has no decoder"):
        SchpParser.load(str(path))
    with pytest.raises(ModelError, match="no such file"):
        SchpParser.load(str(tmp_path / "absent.pth"))


@pytest.mark.parametrize("size", [(128, 64), (40, 90), (33, 33)])
def test_fit_centres_image_and_undo_inverts_it(size: tuple[int, int]) -> None:
    side = 473
    matrix = fit(size, side)
    height, width = size
    corners = np.array([[0, 0, 1], [width - 1, height - 1, 1]]) @ matrix.T
    longer = 0 if width >= height else 1
    np.testing.assert_allclose(corners[:, longer], [0, side - 1], atol=1e-9)
    np.testing.assert_allclose(corners.sum(axis=0), [side - 1, side - 1])
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    ramp = np.stack([rows, columns], axis=-1).astype(np.float32)
    back = undo(ramp, matrix, size)
    assert back.shape == (*size, 2)
    assert np.ptp(back[0, :, 0]) < 1e-3
    assert back[0, 0] == pytest.approx(corners[0, ::-1], abs=0.05)
    assert back[-1, -1] == pytest.approx(corners[1, ::-1], abs=0.05)


def test_pixels_are_normalised_in_bgr_order() -> None:
    bgr = np.zeros((2, 2, 3), dtype=np.uint8)
    bgr[..., 2] = 255
    values = normalise(bgr[None], MEAN, STD)[0, :, 0, 0]
    assert values.tolist() == pytest.approx([-0.406 / 0.225, -0.456 / 0.224, (1 - 0.485) / 0.229])


def test_label_sets_match_documented_region_merge() -> None:
    assert [len(labels) for labels in (LIP, ATR, PASCAL)] == [20, 18, 7]
    assert INPUT_SIDE == {"lip": 473, "atr": 512, "pascal": 512}
    assert (LIP.split, ATR.split, PASCAL.split) == ((6, 10), (7,), ())
    by_region = {
        LIP.name: [(0,), (1, 2, 4, 13), (3, 5, 6, 7, 10, 11, 14, 15), (8, 9, 12, 16, 17), (18, 19), ()],
        ATR.name: [(0,), (1, 2, 3, 11), (4, 7, 8, 14, 15, 17), (5, 6, 12, 13), (9, 10), (16,)],
        PASCAL.name: [(0,), (1,), (2, 3, 4), (5, 6), (), ()],
    }
    for labels in (LIP, ATR, PASCAL):
        for region, classes in enumerate(by_region[labels.name]):
            assert tuple(np.flatnonzero(np.array(labels.regions) == region)) == classes


def naive_merge(classes: NDArray[np.float32], labels: ParserLabels, grid: tuple[int, int]) -> NDArray[np.float32]:
    """Merge pixel by pixel, for sizes that the grid divides."""
    height, width, _ = classes.shape
    winners = classes.argmax(axis=-1)
    rows = [row for row in range(height) if any(winners[row, column] for column in range(width))]
    middle = (rows[0] + rows[-1] + 1) // 2 if rows else height
    out = np.zeros((6, *grid), dtype=np.float64)
    cells = (height // grid[0]) * (width // grid[1])
    for row in range(height):
        for column in range(width):
            for index in range(len(labels)):
                region = labels.regions[index]
                if index in labels.split:
                    region = 2 if row < middle else 3
                out[region, row * grid[0] // height, column * grid[1] // width] += classes[row, column, index] / cells
    return out.astype(np.float32)


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_merge_equals_naive_loop(labels: ParserLabels) -> None:
    rng = np.random.default_rng(3)
    classes = rng.dirichlet(np.full(len(labels), 0.2), size=(24, 12)).astype(np.float32)
    classes[:5] = np.eye(len(labels), dtype=np.float32)[0]
    np.testing.assert_allclose(merge(classes, labels, (8, 4)), naive_merge(classes, labels, (8, 4)), atol=1e-5)
    hard = classes.argmax(axis=-1).astype(np.uint8)
    one_hot = np.eye(len(labels), dtype=np.float32)[hard]
    np.testing.assert_allclose(merge_hard(hard, labels, (8, 4)), naive_merge(one_hot, labels, (8, 4)), atol=1e-5)


def test_dress_is_upper_above_the_middle_and_lower_below() -> None:
    labels = np.zeros((64, 32), dtype=np.uint8)
    labels[4:10, 12:20] = 2
    labels[10:50, 10:22] = 6
    labels[50:60, 12:20] = 16
    regions = merge_hard(labels, LIP, (64, 32)).argmax(axis=0)
    assert middle_row(labels > 0) == 32
    assert set(np.unique(regions[10:32, 10:22])) == {2}
    assert set(np.unique(regions[32:50, 10:22])) == {3}


def test_empty_image_is_background() -> None:
    regions = merge_hard(np.zeros((100, 50), dtype=np.uint8), LIP)
    assert regions.shape == (6, 64, 32)
    np.testing.assert_allclose(regions[0], 1, atol=1e-6)
    assert not regions[1:].any()
    assert middle_row(np.zeros((7, 3), dtype=bool)) == 7
