"""Which model serves: how a challenger is judged against it, when it may take its place, and what it must not have
learnt from."""

from vestigo.registry.gate import GATE, Differences, Margins, Verdict, decide, differences_of, has_passed, recorded
from vestigo.registry.judging import JudgedPair, judge_pair, scores_of, split_name
from vestigo.registry.leakage import Leak, TrainingImage, find_leaks, require_no_leak
from vestigo.registry.measures import are_of, kept_differences, stored_measures, tests_of
from vestigo.registry.naming import is_package, locate_model, model_digest, open_model, open_registered, registered
from vestigo.registry.promoting import in_force, objection, promote_by_hand, stale_crops
from vestigo.registry.splits import identity_key, is_test

__all__ = [
    "GATE",
    "Differences",
    "JudgedPair",
    "Leak",
    "Margins",
    "TrainingImage",
    "Verdict",
    "are_of",
    "decide",
    "differences_of",
    "find_leaks",
    "has_passed",
    "identity_key",
    "in_force",
    "is_package",
    "is_test",
    "judge_pair",
    "kept_differences",
    "locate_model",
    "model_digest",
    "objection",
    "open_model",
    "open_registered",
    "promote_by_hand",
    "recorded",
    "registered",
    "require_no_leak",
    "scores_of",
    "split_name",
    "stale_crops",
    "stored_measures",
    "tests_of",
]
