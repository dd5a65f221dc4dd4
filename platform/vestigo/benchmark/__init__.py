"""A model judged on a dataset, or anybody's features judged as they are: everything `evaluate` and `score` report."""

from vestigo.benchmark.attributes import AttributeJudgement, judge_attributes
from vestigo.benchmark.judging import judge_features, judge_model
from vestigo.benchmark.result import CURVE, STRIP, Advance, Benchmark, Options

__all__ = [
    "CURVE",
    "STRIP",
    "Advance",
    "AttributeJudgement",
    "Benchmark",
    "Options",
    "judge_attributes",
    "judge_features",
    "judge_model",
]
