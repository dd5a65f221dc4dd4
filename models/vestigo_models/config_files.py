"""Reading of configuration files of users: YAML and JSON, with bounds on size and depth."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from vestigo_models.errors import ConfigError
from vestigo_models.text_files import read_text

MAX_YAML_BYTES = 64 * 1024
MAX_JSON_BYTES = 16 * 1024 * 1024  # larger files are refused: no configuration has so much text
MAX_DEPTH = 50  # largest number of lists and mappings inside one another


class _PlainLoader(yaml.SafeLoader):
    """A loader without aliases, which let a file of some hundred bytes grow to gigabytes, and of bounded depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _refusal(event, f"*{event.anchor} is an alias; write its value out")
        if self.depth > MAX_DEPTH:
            raise _refusal(event, f"more than {MAX_DEPTH} levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.ScalarNode):
            node.value.encode()  # raises UnicodeEncodeError for half of a surrogate pair
        return node


def read_yaml(path: Path, subject: str) -> Any:
    """Return the content of a YAML file; arguments and exceptions are those of `parse_yaml`."""
    return parse_yaml(_read(path, subject, "YAML", MAX_YAML_BYTES), subject)


def parse_yaml(text: str, subject: str) -> Any:
    """Return the content of a YAML text; raise ConfigError, beginning with `subject`, if it is too large or invalid."""
    return _parse(text, subject, "YAML", MAX_YAML_BYTES, _load_yaml)


def read_json(path: Path, subject: str) -> Any:
    """Return the content of a JSON file; arguments and exceptions as for YAML."""
    return _parse(_read(path, subject, "JSON", MAX_JSON_BYTES), subject, "JSON", MAX_JSON_BYTES, _load_json)


def _read(path: Path, subject: str, kind: str, max_bytes: int) -> str:
    try:
        if (size := path.stat().st_size) > max_bytes:
            raise ConfigError(f"{subject}: {size:,} bytes, too large for a configuration")
        return read_text(path)
    except OSError as error:
        raise ConfigError(f"{subject}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{subject}: not {kind}: {error}; save it as UTF-8") from None


def _parse(text: str, subject: str, kind: str, max_bytes: int, load: Callable[[str], Any]) -> Any:
    if len(text) > max_bytes:
        raise ConfigError(f"{subject}: more than {max_bytes:,} characters, too large for a configuration")
    try:
        return load(text)
    except RecursionError:
        raise ConfigError(f"{subject}: not {kind}: too many levels") from None
    except Exception as error:  # noqa: BLE001  (PyYAML raises many types on dates and numbers that do not exist)
        problem = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{subject}: not {kind}: {problem[:200]}") from None


def _load_yaml(text: str) -> Any:
    content = yaml.load(text, Loader=_PlainLoader)
    repr(content)  # raises ValueError for numbers of thousands of digits, which cannot be printed
    return content


def _load_json(text: str) -> Any:
    content = json.loads(text)
    json.dumps(content, ensure_ascii=False).encode()  # raises UnicodeEncodeError for half of a surrogate pair
    return content


def _refusal(event: yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]
