import json
from pathlib import Path

import pytest

from vestigo_models.config_files import MAX_YAML_BYTES, parse_yaml, read_json, read_yaml
from vestigo_models.errors import ConfigError

ALIASES = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nfps: *b\n"


def refuse_yaml(text: str) -> str:
    with pytest.raises(ConfigError, match=r"^settings: ") as caught:
        parse_yaml(text, "settings")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    return message


def refuse_json(folder: Path, text: str) -> str:
    path = folder / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^settings: ") as caught:
        read_json(path, "settings")
    return str(caught.value)


def test_plain_content_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("\ufefffps: 5\nsources: [a, {b: c}]\n", encoding="utf-8")
    assert read_yaml(path, "settings") == {"fps": 5, "sources": ["a", {"b": "c"}]}
    path.write_text('\ufeff{"fps": 5}', encoding="utf-8")
    assert read_json(path, "settings") == {"fps": 5}


def test_aliases_are_refused() -> None:
    assert "*a is an alias; write its value out" in refuse_yaml(ALIASES)


def test_depth_is_bounded(tmp_path: Path) -> None:
    assert parse_yaml("[" * 40 + "]" * 40, "settings")
    assert "more than 50 levels" in refuse_yaml("[" * 60 + "]" * 60)
    assert "more than 50 levels" in refuse_yaml("\n".join(" " * depth + "a:" for depth in range(60)))
    assert "too many levels" in refuse_json(tmp_path, "[" * 100_000)


def test_size_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("a" * (MAX_YAML_BYTES + 1))
    with pytest.raises(ConfigError, match="too large for a configuration"):
        read_yaml(path, "settings")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("start: 2026-13-45", "month must be in 1..12"),
        ("start: 2026-01-01t00:00:00-99:99", "offset"),
        ("fps: " + "1" * 5000, "4300 digits"),
        ("fps: " + "59:" * 5000 + "59", "4300 digits"),
        ("fps: !!float ''", "not YAML"),
        ("fps: !!int five", "five"),
        ('camera: "\\ud800"', "surrogates not allowed"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("? [a, b]\n: 1", "unhashable"),
        ("a: [", "not YAML"),
        ("fps: 5\nshard_" + "1" * 5000, "could not find expected ':'"),
    ],
)
def test_wrong_yaml_is_one_line(text: str, problem: str) -> None:
    assert problem in refuse_yaml(text)


@pytest.mark.parametrize("text", ["{", '{"a": ' + "1" * 5000 + "}", '{"a": "\\ud800"}', ""])
def test_wrong_json_is_one_line(text: str, tmp_path: Path) -> None:
    assert "not JSON" in refuse_json(tmp_path, text)


def test_other_encodings_and_absent_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(json.dumps({"name": "x"}).encode() + b"\x80")
    for read in (read_json, read_yaml):
        with pytest.raises(ConfigError, match=r"settings: not .*save it as UTF-8"):
            read(path, "settings")
        with pytest.raises(ConfigError, match="settings: No such file"):
            read(tmp_path / "absent", "settings")
