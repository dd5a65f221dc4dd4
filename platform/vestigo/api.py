"""The public Python API: what `import vestigo` offers, as its `__all__` lists it.

Each name is imported on first use, so that `import vestigo` loads neither torch nor a database driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.evaluate import evaluate_model
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo.evaluation.result import Evaluation
from vestigo.resolve import resolve_digest, resolve_review_model
from vestigo.retrieval.gallery import Scope
from vestigo.retrieval.query import Query, open_encoder
from vestigo.retrieval.search import SearchResult, search_conditions, search_query
from vestigo.review.estimates.precision import estimate_precision
from vestigo.review.estimates.review_sample import read_review_sample
from vestigo.store.audit.records import login, query_key, shown_crops
from vestigo.store.open import Store
from vestigo_models.arrays import Float32Array, UInt8Array
from vestigo_models.attribute_filter.modes import FilterConfig, choose_filter
from vestigo_models.devices import resolve_device
from vestigo_models.errors import UsageError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage

if TYPE_CHECKING:
    from vestigo.evaluation.metrics.ranking import Protocol

Image = str | Path | UInt8Array
"""An image file, or RGB pixels (h, w, 3) uint8."""


def open_store(path: str | Path, *, create: bool = False) -> Store:
    """Open a store.

    `store.crops(...)`, `store.annotations(...)` and `store.rankings(...)` return pandas DataFrames; the repositories of
    the same names have the methods that stream and write.

    Args:
        path: Folder of the store, or TOML file that names a database and a data root.
        create: Whether a new store is created where there is none.

    Raises:
        StoreError: If there is no store, the database does not answer, or its schema is older or newer.
    """
    return Store.open(path, create=create)


def search(
    store: Store,
    query: Image | Sequence[Image] = (),
    *,
    where: str = "",
    top: int = 20,
    cameras: str | Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    filter: str = "off",
    max_miss_rate: float = 0.01,
    rerank: bool = False,
    model: str | None = None,
    device: str = "auto",
    case: str | None = None,
    authority: str | None = None,
) -> SearchResult:
    """Search a store for one person; `SearchResult.to_frame` gives the hits as a DataFrame.

    The search is recorded in the audit log, under the name of the current user, before it returns.

    Args:
        store: The store.
        query: Views of the person: image files, pixels, or ids of crops. Without views, `where` alone ranks the crops.
        where: Conditions such as `gender=female,backpack=yes`.
        top: Number of hits.
        cameras: Names of cameras, or of one camera; all by default.
        since: First recording time.
        until: First recording time after the span.
        filter: Attribute filter: off, strict, quality, a threshold, auto or soft.
        max_miss_rate: For the filter `auto`: the largest share of true matches that it may discard.
        rerank: Whether k-reciprocal re-ranking reorders the nearest crops.
        model: Model reference, see `vestigo.resolve`.
        device: cpu, cuda or auto.
        case: Case number for the audit log.
        authority: Authorisation for the audit log.

    Raises:
        UsageError: If there is neither query nor condition, or an option does not fit.
        StoreError: If a crop or a camera is unknown, or the store holds crops of several models.
    """
    views = [query] if isinstance(query, (str, Path, np.ndarray)) else list(query)
    crops = tuple(str(view) for view in views if isinstance(view, str) and not Path(view).is_file())
    images = [_read(view) for view in views if not (isinstance(view, str) and view in crops)]
    names = (cameras,) if isinstance(cameras, str) else None if cameras is None else tuple(cameras)
    scope = Scope(cameras=names, since=since, until=until, where=where if views else "")
    if not views and not where:
        raise UsageError("nothing to search for: give images, ids of crops, or where=")
    snapshot = store.crops.snapshot()
    if views:
        digest = model and resolve_digest(store, model)
        features = None
        if images:
            encoder = open_encoder(store, model, device)
            features, digest = encoder.extract(images), encoder.package.digest
        config = FilterConfig(filter=filter, max_lost=max_miss_rate)
        person = Query(crops=crops, views=features, model=digest)
        result = search_query(store, person, top=top, scope=scope, filter_config=config, rerank=rerank)
    else:
        result = search_conditions(store, where, model=model and resolve_digest(store, model), top=top, scope=scope)
    details = {
        "query": query_key(crops=crops, images=[image.tobytes() for image in images], where="" if views else where),
        "query_crops": list(crops),
        "where": where,
        "filter": filter,
        "model": result.model,
        **shown_crops([hit.crop for hit in result.hits]),
    }
    store.audit.record(login(), "search", details=details, snapshot=snapshot, case=case, authority=authority)
    return result


class LoadedModel:
    """A model package on a device.

    Attributes:
        name, digest: Name of the package, and SHA-256 of its weights and configuration.
        schema: Attributes that the model predicts, None without any.
        extractor: What computes the features.
    """

    def __init__(self, package: ModelPackage, device: str = "cpu") -> None:
        self.name, self.digest, self.schema = package.name, package.digest, package.schema
        self.extractor = Extractor(package, device)

    def embed(self, images: Image | Sequence[Image]) -> Float32Array:
        """Compute the embeddings of N crops.

        Returns:
            (N, D) float32: blocks of length 1, one for each feature; parts that are not visible are zero.

        Raises:
            BadInput: If an image cannot be read.
        """
        return self.extractor.extract(_read_all(images)).descriptors.vectors

    def attributes(self, images: Image | Sequence[Image]) -> pd.DataFrame:
        """Predict the attributes of N crops.

        Returns:
            A row for each crop; for each attribute the predicted value in column NAME and its calibrated probability
            in column NAME_confidence.

        Raises:
            UsageError: If the model predicts no attributes.
            BadInput: If an image cannot be read.
        """
        if self.schema is None:
            raise UsageError(f"model {self.name} predicts no attributes; load one that was trained with attributes")
        probabilities = self.extractor.extract(_read_all(images)).probabilities
        columns: dict[str, object] = {}
        for attribute in self.schema.attributes:
            part = probabilities[:, self.schema.slice(attribute.name)]
            columns[attribute.name] = [attribute.values[value] for value in part.argmax(axis=1)]
            columns[f"{attribute.name}_confidence"] = part.max(axis=1)
        return pd.DataFrame(columns)

    def regions(self, images: Image | Sequence[Image]) -> UInt8Array:
        """Segment N crops into body regions and belongings.

        Returns:
            (N, H, W) uint8 region ids on the model's feature grid, see `vestigo_models.schemas.regions`.

        Raises:
            UsageError: If the model has no regions.
            BadInput: If an image cannot be read.
        """
        if not self.extractor.package.config.network.regions:
            raise UsageError(f"model {self.name} has no regions; load one that was trained with label maps")
        return np.asarray(self.extractor.regions(_read_all(images)).argmax(axis=3), np.uint8)


def load_model(ref: str = "default", *, device: str = "auto") -> LoadedModel:
    """Load a model (`default`, a folder or `hub:ID`) on a device (cpu, cuda or auto).

    Raises:
        ModelError: If there is no such model.
    """
    return LoadedModel(ModelPackage.from_pretrained(ref), resolve_device(device))


def evaluate(
    dataset: ReidDataset | str | Path,
    model: LoadedModel | str = "default",
    *,
    protocol: Protocol = "cross-camera",
    filter: str = "off",
    max_miss_rate: float = 0.01,
    rerank: bool = False,
    device: str = "auto",
) -> Evaluation:
    """Evaluate a model on a dataset.

    Args:
        dataset: A dataset, or its folder.
        model: A model, or its reference.
        protocol: cross-camera, same-camera or all.
        filter: Attribute filter: off, strict, quality, a threshold, auto or soft.
        max_miss_rate: For the filter `auto`: the largest share of true matches that it may discard.
        rerank: Whether to apply k-reciprocal re-ranking.
        device: cpu, cuda or auto; for a model that is given by reference.

    Returns:
        Retrieval metrics in percent (`metrics`), attributes, regions and the cost of the filter.

    Raises:
        DatasetError: If the folder holds no known layout.
        ModelError: If there is no such model.
        ConfigError: If the filter needs attributes or a calibration that the model lacks.
    """
    loaded = dataset if isinstance(dataset, ReidDataset) else load_dataset(Path(dataset))
    extractor = (load_model(model, device=device) if isinstance(model, str) else model).extractor
    choice = choose_filter(FilterConfig(filter=filter, max_lost=max_miss_rate), extractor.package.calibration)
    return evaluate_model(loaded, extractor, EvaluationOptions(protocol=protocol, rerank=rerank, filter=choice))


def precision(store: Store, model: str | None = None, *, project: str | None = None) -> pd.DataFrame:
    """Estimate the accuracy of every attribute on all crops of a store, from the reviewed tasks.

    Args:
        store: The store.
        model: Model reference, see `vestigo.resolve`; the serving model by default.
        project: Review project, all by default.

    Returns:
        A row for each attribute: accuracy, low and high (95 % interval) as fractions, reviewed tasks and the number of
        "cannot tell"; see docs/method.md, section "Review statistics".

    Raises:
        UsageError: If nothing is reviewed.
        StoreError: If the store holds no crops of the model.
    """
    sample = read_review_sample(store, resolve_review_model(store, model), None if project is None else [project])
    report = estimate_precision(sample.reviewed)
    rows = [{"attribute": name, **estimate.to_dict()} for name, estimate in report.attributes.items()]
    return pd.DataFrame(rows).drop(columns="values", errors="ignore").set_index("attribute")


def _read_all(images: Image | Sequence[Image]) -> list[UInt8Array]:
    return [_read(images)] if isinstance(images, (str, Path, np.ndarray)) else list(map(_read, images))


def _read(image: Image) -> UInt8Array:
    return image if isinstance(image, np.ndarray) else read_image(Path(image))
