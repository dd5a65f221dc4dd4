"""A model judged on a dataset, or anybody's features judged as they are: everything `evaluate` and `score` report."""

from vestigo.benchmark.attributes import AttributeJudgement, judge_attributes
from vestigo.benchmark.calibrating import CalibrationSplit, ModelCalibration, calibrate_model
from vestigo.benchmark.comparison import Comparison, compare
from vestigo.benchmark.filter_trials import FilterTrial, try_filters
from vestigo.benchmark.filtering import FilterJudgement
from vestigo.benchmark.fusion import FusionJudge, MethodMetrics, shares_of_oracle
from vestigo.benchmark.judging import judge_features, judge_model
from vestigo.benchmark.options import NO_FILTER, Advance, Options
from vestigo.benchmark.ranking import STRIP
from vestigo.benchmark.regions import label_overlap
from vestigo.benchmark.result import CURVE, Benchmark

__all__ = [
    "CURVE",
    "NO_FILTER",
    "STRIP",
    "Advance",
    "AttributeJudgement",
    "Benchmark",
    "CalibrationSplit",
    "Comparison",
    "FilterJudgement",
    "FilterTrial",
    "FusionJudge",
    "MethodMetrics",
    "ModelCalibration",
    "Options",
    "calibrate_model",
    "compare",
    "judge_attributes",
    "judge_features",
    "judge_model",
    "label_overlap",
    "shares_of_oracle",
    "try_filters",
]
