"""Options and arguments that several commands share, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from vestigo.instants import parse_instant
from vestigo.store.audit.account import login as login
from vestigo_models.config_files import parse_yaml
from vestigo_models.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from vestigo.retrieval.gallery import Scope
    from vestigo.review.label_studio.client import LabelStudioClient
    from vestigo.store.models.records import Model
    from vestigo.store.open import Store
    from vestigo_models.attribute_filter.modes import FilterChoice, FilterConfig
    from vestigo_models.schemas.attributes import AttributeSchema


# Many commands.
SetOption = Annotated[
    list[str] | None, Option("--set", help="KEY=VALUE of the training configuration, such as batch_identities=8.")
]
StoreOption = Annotated[
    str,
    Option(
        "--store",
        "-s",
        envvar="VESTIGO_STORE",
        help="Store: a folder (created on first use) or a TOML file with 'database' and 'data'.",
        show_default=False,
    ),
]
HtmlOption = Annotated[Path | None, Option("--html", help="Also write a self-contained HTML page to this file.")]

# Models and networks.
DeviceOption = Annotated[str, Option("--device", help="Where the networks run: auto, cpu, cuda or cuda:N.")]
ModelOption = Annotated[str, Option("--model", help="Model: default, a package folder, or hub:ID.")]
StoredModelOption = Annotated[
    str | None,
    Option(
        "--model",
        help="Only crops of this model: default, a folder, hub:ID, or a name or digest of `vestigo models list`. "
        "Default: the serving model, else the newest; a store that also holds crops of others is refused.",
    ),
]

# Part of an archive.
CamerasOption = Annotated[
    list[str] | None,
    Option(
        "--cameras",
        help="Only these cameras: names separated by commas, or repeat the option. A name with a comma is given alone, "
        "or in double quotes.",
    ),
]
FromOption = Annotated[
    str | None, Option("--from", metavar="ISO8601", help="Only from this time on; UTC without offset.")
]
ToOption = Annotated[str | None, Option("--to", metavar="ISO8601", help="Only before this time; UTC without offset.")]
WhereOption = Annotated[
    str,
    Option(
        "--where",
        metavar="ATTRIBUTE=VALUE,...",
        help="Only crops with these predicted values, such as gender=female,backpack=yes.",
        show_default=False,
    ),
]

SchemaOption = Annotated[
    str | None,
    Option(
        "--schema",
        metavar="market1501|dukemtmc|FILE.yaml",
        help="Attribute schema: a built-in one or a YAML file. A model keeps the schema that it was trained with; for "
        "a model, --schema must name that schema.",
    ),
]

# Search and evaluation.
FilterOption = Annotated[
    str,
    Option(
        "--filter",
        metavar="off|strict|quality|TAU|auto|soft",
        help="Discard crops whose confident attributes differ: strict from confidence 0.7 (docs/method.md), quality "
        "from 0.95, TAU from any other, auto from one that loses at most --max-lost of the true matches; soft discards "
        "nothing and adds conflicts to the distance.",
    ),
]
MaxLostOption = Annotated[
    float, Option("--max-lost", help="Of --filter auto: largest share of true matches that may be lost.")
]
ProtocolOption = Annotated[
    Literal["cross-camera", "same-camera", "all"],
    Option(
        "--protocol",
        help="What a query is compared with: cross-camera skips images of its identity from its own camera (the "
        "standard), same-camera compares within its own camera, all everywhere. Never with itself.",
    ),
]
ApOption = Annotated[
    Literal["standard", "trapezoid"],
    Option("--ap", help="Average precision: standard, or trapezoid as in the original Market-1501 toolbox."),
]
RerankOption = Annotated[bool, Option("--rerank", help="Re-rank by k-reciprocal neighbours (CVPR 2017).")]

# Review.
ProjectOption = Annotated[str, Option("--project", "-p", help="Project of review, in the store and on the server.")]
ProjectsOption = Annotated[list[str] | None, Option("--project", "-p", help="Only these projects. Default: all.")]
UrlOption = Annotated[
    str | None, Option("--url", envvar="LABEL_STUDIO_URL", help="Label Studio server, such as http://127.0.0.1:8080.")
]
TokenFileOption = Annotated[
    Path | None,
    Option(
        "--token-file", help="File with the server's token, readable by its owner only. Default: LABEL_STUDIO_API_KEY."
    ),
]
PatienceOption = Annotated[
    float, Option("--patience", min=0, help="Seconds to wait for a server that does not answer.")
]

# Retraining.
BaseOption = Annotated[
    str, Option("--base", help="Model to train: a name or digest of the registry, default, a folder, hub:ID.")
]
DataOption = Annotated[
    Path | None,
    Option(
        "--data",
        help="Dataset: its training split is replayed, its query and gallery are the test split. Without one, crops of "
        "the store are replayed and a fifth of its annotated people is tested.",
    ),
]
ModeOption = Annotated[
    Literal["heads", "all"], Option("--mode", help="heads: refit the attribute heads only. all: the whole network.")
]
MarginOption = Annotated[float, Option("--margin", min=0, help="Points that an attribute may lose.")]
MapMarginOption = Annotated[float, Option("--map-margin", min=0, help="Points that the mAP may lose.")]
ReplayOption = Annotated[int, Option("--replay", min=0, help="Images that are replayed against forgetting.")]
ModelsOption = Annotated[
    Path | None, Option("--out", help="Folder for candidate models. Default: models in the store's folder.")
]

# Audit log.
ByOption = Annotated[str | None, Option("--by", help="Responsible person. Default: the login name.")]
CaseOption = Annotated[str | None, Option("--case", help="Case number, for the audit log.")]
AuthorityOption = Annotated[
    str | None, Option("--authority", help="Reference of the authorisation, for the audit log.")
]


def open_store(ref: str, *, create: bool = False) -> Store:
    """Open the store of `--store`."""
    from vestigo.store.open import Store

    return Store.open(ref, create=create)


def read_scope(store: Store, cameras: list[str] | None, since: str | None, until: str | None, where: str = "") -> Scope:
    """Read the options that select a part of an archive.

    Raises:
        UsageError: A text is no time, or the time span is empty.
        StoreError: The store has no such camera.
    """
    from vestigo.retrieval.gallery import Scope

    names = None if cameras is None else store.cameras.select(cameras)
    scope = Scope(cameras=names, since=_read_time(since, "--from"), until=_read_time(until, "--to"), where=where)
    if scope.since is not None and scope.until is not None and scope.since >= scope.until:
        raise UsageError(f"--from {since} is not before --to {until}")
    return scope


def _read_time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ConfigError as error:
        raise UsageError(f"{option} {error}") from None


def scope_details(scope: Scope) -> dict[str, Any]:
    """Return the selected part of an archive as details of an audit entry; no restriction, no key."""
    details = {
        "cameras": None if scope.cameras is None else list(scope.cameras),
        "from": scope.since and scope.since.isoformat(),
        "to": scope.until and scope.until.isoformat(),
        "where": scope.where or None,
    }
    return {name: value for name, value in details.items() if value is not None}


def read_schema(reference: str | None) -> AttributeSchema | None:
    """Return the schema that `--schema` names, None without the option.

    Raises:
        ConfigError: There is no such schema.
    """
    from vestigo_models.schemas.builtin import resolve_schema

    return None if reference is None else resolve_schema(reference)


def check_schema(reference: str | None, model: str, predicted: AttributeSchema | None) -> None:
    """Check that a model predicts the attributes of `--schema`.

    Args:
        reference: The value of `--schema`, None without the option.
        model: Name of the model.
        predicted: Schema of the model, None if it predicts no attributes.

    Raises:
        ConfigError: There is no such schema.
        UsageError: The model has another schema.
    """
    schema = read_schema(reference)
    if schema is None or (predicted is not None and predicted.digest == schema.digest):
        return
    actual = "no attributes" if predicted is None else f"those of {predicted.name} ({', '.join(predicted.names)})"
    raise UsageError(
        f"--schema {reference} names the attributes of {schema.name} ({', '.join(schema.names)}), but model {model} "
        f"predicts {actual}; leave --schema out or choose another --model"
    )


def check_stored_schema(reference: str | None, resolve: Callable[[], Model]) -> None:
    """Check `--schema` against the model of a store that `resolve` returns; raises as `check_schema`."""
    if reference is not None:
        model = resolve()
        check_schema(reference, model.name, model.facts.attributes)


def read_filter(mode: str, max_lost: float) -> FilterConfig:
    """Read the filter's options.

    Raises:
        UsageError: `--max-lost` is not between 0 and 1.
    """
    from vestigo_models.attribute_filter.modes import FilterConfig

    if not 0 < max_lost < 1:
        raise UsageError(f"--max-lost {max_lost:g}: give a share of true matches between 0 and 1, such as 0.01")
    return FilterConfig(filter=mode, max_lost=max_lost)


def filter_summary(choice: FilterChoice | None) -> dict[str, Any] | None:
    """Return the expected effect of a filter under the names of the contract; None without a filter.

    `guaranteed` is false: an archive's people may differ from those of the calibration, which `holds_for` names.
    """
    if choice is None or choice.mode == "off":
        return None
    return {
        "mode": choice.mode,
        "threshold": choice.threshold,
        "expected_kept": choice.expected.kept_fraction if choice.expected else None,
        "expected_lost": choice.expected.miss_rate if choice.expected else None,
        "guaranteed": False,
        "holds_for": choice.holds_for,
        "sentence": choice.describe(),
    }


def connect(url: str | None, token_file: Path | None, patience: float) -> LabelStudioClient:
    """Connect to Label Studio; the token comes from a file or the environment only."""
    from vestigo.review.label_studio.client import LabelStudioClient, read_token

    return LabelStudioClient.connect(url, read_token(token_file), patience=patience)


def read_changes(changes: Sequence[str] | None) -> dict[str, Any]:
    """Return the keys and values of --set; values are YAML.

    Raises:
        ConfigError: A text is not KEY=VALUE.
    """
    overrides = {}
    for text in changes or ():
        key, equals, value = text.partition("=")
        try:
            overrides[key.strip()] = parse_yaml(value, text)
        except ConfigError:
            equals = ""
        if not key.strip() or not equals:
            raise ConfigError(f"--set {text}: give KEY=VALUE, such as batch_identities=8 or input_size=[64,32]")
    return overrides
