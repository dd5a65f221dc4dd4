"""Options and arguments that several commands share, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from typer import Option

from vestigo.instants import parse_instant
from vestigo.store.audit.records import login as login
from vestigo_models.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from vestigo.retrieval.gallery import Scope
    from vestigo.review.label_studio.client import LabelStudioClient
    from vestigo.store.audit.records import AuditAction
    from vestigo.store.models.records import Model
    from vestigo.store.open import Store
    from vestigo_models.attribute_filter.choice import FilterChoice
    from vestigo_models.attribute_filter.modes import FilterConfig
    from vestigo_models.schemas.attributes import AttributeSchema
    from vestigo_workers.executors.base import ExecutorSettings

SetOption = Annotated[
    list[str] | None, Option("--set", help="KEY=VALUE of the training configuration, such as batch_identities=8.")
]
RecipeOption = Annotated[
    str,
    Option(
        "--recipe",
        help="Optimiser, schedule and augmentation: paper, rendered, rendered-pretrained or real. "
        "auto chooses by backbone, weights and images.",
    ),
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
if TYPE_CHECKING:
    OpenStore: TypeAlias = Store
else:
    OpenStore = Annotated[StoreOption, "open while the command runs, see `vestigo_ui.cli.output.command`"]
HtmlOption = Annotated[Path | None, Option("--html", help="Also write a self-contained HTML page to this file.")]

DeviceOption = Annotated[str, Option("--device", help="Where the networks run: auto, cpu, cuda or cuda:N.")]
StoredModelOption = Annotated[
    str | None,
    Option(
        "--model",
        help="Only crops of this model: default, a folder, hub:ID, or a name or digest of `vestigo models list`. "
        "Default: the serving model, else the newest; a store that also holds crops of others is refused.",
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

ProjectOption = Annotated[str, Option("--project", "-p", help="Project of review, in the store and on the server.")]
ProjectsOption = Annotated[list[str] | None, Option("--project", "-p", help="Only these projects. Default: all.")]
ByOption = Annotated[str | None, Option("--by", help="Responsible person. Default: the login name.")]

UsersOption = Annotated[
    Path | None,
    Option(
        "--users",
        envvar="VESTIGO_USERS",
        help="Users file. Default: vestigo/users.toml in $XDG_CONFIG_HOME or ~/.config.",
    ),
]
SettingsOption = Annotated[
    Path | None,
    Option(
        "--config",
        envvar="VESTIGO_UI_CONFIG",
        help="Settings file. Default: vestigo/ui.toml in $XDG_CONFIG_HOME or ~/.config, if it exists.",
    ),
]
TlsCertOption = Annotated[Path | None, Option("--tls-cert", help="Certificate (PEM) to serve https with.")]
TlsKeyOption = Annotated[Path | None, Option("--tls-key", help="Key (PEM) of that certificate.")]
ProxyOption = Annotated[
    str | None,
    Option(
        "--behind-proxy",
        envvar="VESTIGO_UI_PROXY",
        help="A proxy ends TLS before this server: its address (or network, or several with commas between). Only "
        "it may state the address of a client.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ArchivePart:
    """Options that select a part of an archive."""

    cameras: Annotated[
        list[str] | None,
        Option(
            help="Only these cameras: names separated by commas, or repeat the option. A name with a comma is given "
            "alone, or in double quotes."
        ),
    ] = None
    since: Annotated[
        str | None, Option("--from", metavar="ISO8601", help="Only from this time on; UTC without offset.")
    ] = None
    until: Annotated[
        str | None, Option("--to", metavar="ISO8601", help="Only before this time; UTC without offset.")
    ] = None

    def scope(self, store: Store, where: str = "") -> Scope:
        """Return the selected part of a store; raise UsageError if it is no time span, StoreError for a camera."""
        from vestigo.retrieval.gallery import Scope

        cameras = None if self.cameras is None else store.cameras.select(self.cameras)
        since, until = _read_time(self.since, "--from"), _read_time(self.until, "--to")
        if since is not None and until is not None and since >= until:
            raise UsageError(f"--from {self.since} is not before --to {self.until}")
        return Scope(cameras=cameras, since=since, until=until, where=where)


@dataclass(frozen=True, kw_only=True)
class SearchedModel:
    """Options of a search: the model whose crops are searched, conditions, and the attribute filter."""

    model: StoredModelOption = None
    where: Annotated[
        str,
        Option(
            metavar="ATTRIBUTE=VALUE,...",
            help="Only crops with these predicted values, such as gender=female,backpack=yes.",
            show_default=False,
        ),
    ] = ""
    schema: SchemaOption = None
    filter: FilterOption = "off"
    max_lost: MaxLostOption = 0.01

    def digest(self, store: Store) -> str | None:
        """Return the digest of `--model`, None without the option."""
        from vestigo.resolve import resolve_digest

        return self.model and resolve_digest(store, self.model)

    def check_schema(self, store: Store) -> None:
        """Check `--schema` against the model that answers; raises as `check_schema`."""
        from vestigo.resolve import resolve_search_model

        if self.schema is not None:
            model = resolve_search_model(store, self.digest(store))
            check_schema(self.schema, model.name, model.facts.attributes)


@dataclass(frozen=True, kw_only=True)
class ReviewedModel:
    """Options that name the model whose crops are reviewed."""

    model: StoredModelOption = None
    schema: SchemaOption = None

    def resolve(self, store: Store) -> Model:
        """Return the model; raises as `resolve_review_model` and `check_schema`."""
        from vestigo.resolve import resolve_review_model

        model = resolve_review_model(store, self.model)
        check_schema(self.schema, model.name, model.facts.attributes)
        return model


@dataclass(frozen=True, kw_only=True)
class RankingOptions:
    """Options of an evaluation that decide what the metrics mean."""

    protocol: Annotated[
        Literal["cross-camera", "same-camera", "all"],
        Option(
            help="What a query is compared with: cross-camera skips images of its identity from its own camera (the "
            "standard), same-camera compares within its own camera, all everywhere. Never with itself."
        ),
    ] = "cross-camera"
    ap: Annotated[
        Literal["standard", "trapezoid"],
        Option(help="Average precision: standard, or trapezoid as in the original Market-1501 toolbox."),
    ] = "standard"
    rerank: Annotated[bool, Option("--rerank", help="Re-rank by k-reciprocal neighbours (CVPR 2017).")] = False


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """Options that say where images are processed; results do not depend on them."""

    executor: Annotated[
        Literal["inline", "ray", "auto"] | None,
        Option(help="Where images are processed: inline, in this process; ray; or auto. Default: auto."),
    ] = None
    actors: Annotated[int | None, Option(min=1, help="Ray actors. Default: one per GPU share, else one per CPU.")] = (
        None
    )
    gpus_per_actor: Annotated[float | None, Option(min=0, help="Share of a GPU that an actor is pinned to.")] = None
    shard_size: Annotated[int | None, Option(min=1, help="Images per shard, at most. Default: 256.")] = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given."""
        return given(vars(self))

    def settings(self, device: str) -> ExecutorSettings:
        """Return the settings of an executor whose workers compute on `device`.

        Raises:
            UsageError: If the share of a GPU is no finite number.
        """
        from vestigo_workers.executors.base import ExecutorSettings

        if self.gpus_per_actor is not None and not math.isfinite(self.gpus_per_actor):
            raise UsageError(f"--gpus-per-actor {self.gpus_per_actor}: give a share of a GPU, such as 0.5")
        return ExecutorSettings(**self.given, device=device)


@dataclass(frozen=True, kw_only=True)
class LabelStudioServer:
    """Options of a Label Studio server."""

    url: Annotated[
        str | None, Option(envvar="LABEL_STUDIO_URL", help="Label Studio server, such as http://127.0.0.1:8080.")
    ] = None
    token_file: Annotated[
        Path | None,
        Option(help="File with the server's token, readable by its owner only. Default: LABEL_STUDIO_API_KEY."),
    ] = None
    patience: Annotated[float, Option(min=0, help="Seconds to wait for a server that does not answer.")] = 60.0

    def connect(self) -> LabelStudioClient:
        """Connect to the server; the token comes from a file or the environment only."""
        from vestigo.review.label_studio.client import LabelStudioClient, read_token

        return LabelStudioClient.connect(self.url, read_token(self.token_file), patience=self.patience)


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """Options that the audit log records."""

    case: Annotated[str | None, Option(help="Case number, for the audit log.")] = None
    authority: Annotated[str | None, Option(help="Reference of the authorisation, for the audit log.")] = None

    def record(
        self, store: Store, action: AuditAction, details: Mapping[str, Any], snapshot: str | None = None
    ) -> None:
        """Write what this account does to the audit log."""
        store.audit.record(login(), action, details=details, snapshot=snapshot, **vars(self))


def open_store(ref: str, *, create: bool = False) -> Store:
    """Open the store of `--store`."""
    from vestigo.store.open import Store

    return Store.open(ref, create=create)


def _read_time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ConfigError as error:
        raise UsageError(f"{option} {error}") from None


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not None, such as those of options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def spell(names: Iterable[str]) -> str:
    """Return the options of parameters as users write them."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def command_text(name: str, options: Mapping[str, object], changes: Iterable[str] | None = None) -> str:
    """Return a command as packages and pages record it: without paths of this machine; `changes` are those of --set."""
    words = [f"--{option} {Path(str(value)).name}" for option, value in given(options).items()]
    return " ".join([f"vestigo {name}", *words, *(f"--set {change}" for change in changes or ())])


def scope_details(scope: Scope) -> dict[str, Any]:
    """Return the selected part of an archive as details of an audit entry; no restriction, no key."""
    details = {
        "cameras": None if scope.cameras is None else list(scope.cameras),
        "from": scope.since and scope.since.isoformat(),
        "to": scope.until and scope.until.isoformat(),
        "where": scope.where or None,
    }
    return given(details)


def read_schema(reference: str | None) -> AttributeSchema | None:
    """Return the schema that `--schema` names, None without the option; raise ConfigError if there is none."""
    from vestigo_models.schemas.builtin import resolve_schema

    return None if reference is None else resolve_schema(reference)


def check_schema(reference: str | None, model: str, predicted: AttributeSchema | None) -> None:
    """Check that a model predicts the attributes of `--schema`; raise UsageError if it predicts others or none."""
    schema = read_schema(reference)
    if schema is None or (predicted is not None and predicted.digest == schema.digest):
        return
    actual = "no attributes" if predicted is None else f"those of {predicted.name} ({', '.join(predicted.names)})"
    raise UsageError(
        f"--schema {reference} names the attributes of {schema.name} ({', '.join(schema.names)}), but model {model} "
        f"predicts {actual}; leave --schema out or choose another --model"
    )


def read_filter(mode: str, max_lost: float) -> FilterConfig:
    """Read the filter's options; raise UsageError if `--max-lost` is not between 0 and 1."""
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


def read_changes(changes: Sequence[str] | None) -> dict[str, Any]:
    """Return the keys and (YAML) values of --set; raise ConfigError if a text is not KEY=VALUE."""
    from vestigo_models.config_files import parse_yaml

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
