"""Which part of an archive a command looks at: cameras and a stretch of time."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vestigo.retrieval.gallery import Scope
    from vestigo.review.label_studio.client import LabelStudioClient
    from vestigo.store.models.records import Model
    from vestigo_models.attribute_filter.modes import FilterChoice, FilterConfig
    from vestigo_models.schemas.attributes import AttributeSchema


CamerasOption = Annotated[
    list[str] | None,
    typer.Option("--cameras", help="Only these cameras: names with commas between, or the option repeated."),
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="ISO8601", help="Only from this time on; UTC unless it says otherwise.")
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="ISO8601", help="Only before this time; UTC unless it says otherwise.")
]
WhereOption = Annotated[
    str,
    typer.Option(
        "--where",
        metavar="ATTRIBUTE=VALUE,...",
        help="Only crops that the model says are so, as in gender=female,backpack=yes.",
        show_default=False,
    ),
]


def read_scope(cameras: list[str] | None, since: str | None, until: str | None, where: str = "") -> Scope:
    """Read the three options; raises UsageError for a text that is no time, or an empty stretch."""
    from vestigo.retrieval.gallery import Scope
    from vestigo_models.errors import UsageError

    names = None if cameras is None else tuple(name.strip() for text in cameras for name in text.split(","))
    scope = Scope(cameras=names, since=_time(since, "--from"), until=_time(until, "--to"), where=where)
    if scope.since is not None and scope.until is not None and scope.since >= scope.until:
        raise UsageError(f"--from {since} is not before --to {until}")
    return scope


def _time(text: str | None, option: str) -> datetime | None:
    from vestigo_models.errors import UsageError

    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a time as in 2026-05-01T08:00:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


FilterOption = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="off|strict|quality|TAU|auto|soft",
        help="Discard crops whose confident attributes differ: strict from a confidence of 0.7 on (the paper's), "
        "quality from 0.95, TAU from any other, auto from one that loses at most --max-lost of the true matches; soft "
        "discards nothing and lets conflicts add to the distance.",
    ),
]
MaxLostOption = Annotated[
    float, typer.Option("--max-lost", help="Of --filter auto: the largest share of true matches to lose.")
]


def choose(mode: str, max_lost: float, calibration: dict[str, Any] | None) -> FilterChoice:
    """Decide what the filter does with a model of this `calibration`.

    Raises:
        UsageError: one line with what is wrong with an option, or what the model lacks for it.
    """
    from vestigo_models.attribute_filter.modes import choose_filter
    from vestigo_models.attribute_filter.record import Calibration

    return choose_filter(asked(mode, max_lost), Calibration.read(calibration))


def asked(mode: str, max_lost: float) -> FilterConfig:
    """The two options as settings; raises UsageError for a share that is none."""
    from vestigo_models.attribute_filter.modes import FilterConfig
    from vestigo_models.errors import UsageError

    if not 0 < max_lost < 1:
        raise UsageError(f"--max-lost {max_lost:g}: give a share of true matches between 0 and 1, such as 0.01")
    return FilterConfig(filter=mode, max_lost=max_lost)


def expected(choice: FilterChoice | None) -> dict[str, Any] | None:
    """What a filter over a store is expected to cost, under the names of the contract; None where there is none.

    `guaranteed` is false: nobody knows of an archive that its people are like those of the calibration, which
    `holds_for` names.
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


SchemaOption = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="market1501|dukemtmc|FILE.yaml",
        help="Attribute schema: a built-in one or a YAML file. A model keeps the schema that it was trained with; for "
        "a model, --schema must name that schema.",
        show_default=False,
    ),
]


def read_schema(reference: str | None) -> AttributeSchema | None:
    """Return the schema that `--schema` names, None without the option; raises ConfigError if there is none."""
    from vestigo_models.schemas.registry import resolve_schema

    return None if reference is None else resolve_schema(reference)


def check_schema(reference: str | None, model: str, predicted: AttributeSchema | None) -> None:
    """Check that a model predicts the attributes of `--schema`.

    Args:
        reference: The value of `--schema`, None without the option.
        model: Name of the model.
        predicted: Schema of the model, None if it predicts no attributes.

    Raises:
        ConfigError: If there is no such schema.
        UsageError: If the model has another schema.
    """
    from vestigo_models.errors import UsageError

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


ProjectOption = Annotated[
    str, typer.Option("--project", "-p", help="Project of review, in the store and on the server.")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="LABEL_STUDIO_URL", help="Label Studio server, as in http://127.0.0.1:8080.", show_default=False
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File with the server's token, for its owner only. Default: LABEL_STUDIO_API_KEY.",
        show_default=False,
    ),
]
PatienceOption = Annotated[
    float, typer.Option("--patience", min=0, help="Seconds for which a server that does not answer is waited for.")
]


def connect(url: str | None, token_file: Path | None, patience: float) -> LabelStudioClient:
    """Open the connection; the token comes from a file or the environment and nowhere else."""
    from vestigo.review.label_studio.client import LabelStudioClient, read_token

    return LabelStudioClient.connect(url, read_token(token_file), patience=patience)


CaseOption = Annotated[str | None, typer.Option("--case", help="Case number, for the audit log.", show_default=False)]
AuthorityOption = Annotated[
    str | None,
    typer.Option("--authority", help="Reference of the authorisation, for the audit log.", show_default=False),
]


def login() -> str:
    """Return the name of the account that this process runs under, whatever the environment says of it."""
    user = os.getuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


def asked_of(scope: Scope) -> dict[str, Any]:
    """Return which part of an archive was asked for, as details of an audit entry; no restriction, no key."""
    details = {
        "cameras": None if scope.cameras is None else list(scope.cameras),
        "from": scope.since and scope.since.isoformat(),
        "to": scope.until and scope.until.isoformat(),
        "where": scope.where or None,
    }
    return {name: value for name, value in details.items() if value is not None}
