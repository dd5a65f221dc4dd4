"""Reading of YAML files of users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vestigo_models.errors import ConfigError
from vestigo_models.text_files import read_text


def read_yaml(path: Path, subject: str) -> Any:
    """Return the content of a YAML file.

    Raises:
        ConfigError: If the file cannot be read or is not YAML; the message begins with `subject`.
    """
    try:
        return yaml.safe_load(read_text(path))
    except OSError as error:
        raise ConfigError(f"{subject}: {error.strerror or error}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{subject}: not YAML: {' '.join(str(error).split())[:200]}") from None
