"""Benchmark datasets: loaders for the Market-1501 and DukeMTMC-reID layouts with their attribute annotations."""

from vestigo.datasets.attributes_mat import IdentityLabels, read_annotations
from vestigo.datasets.digest import dataset_digest
from vestigo.datasets.layout import Layout
from vestigo.datasets.recognise import FORMATS, load_dataset, recognise
from vestigo.datasets.reid import ReidDataset, Split

__all__ = [
    "FORMATS",
    "IdentityLabels",
    "Layout",
    "ReidDataset",
    "Split",
    "dataset_digest",
    "load_dataset",
    "read_annotations",
    "recognise",
]
