"""Which model serves: how a challenger is judged against it, when it may take its place, and what it must not have
learnt from."""

from vestigo.registry.gate import Differences, Margins, Verdict, decide, differences_of
from vestigo.registry.judging import GATE, JudgedPair, judge_pair, plain, scores_of, split_name
from vestigo.registry.leakage import Leak, TrainingImage, find_leaks, require_no_leak
from vestigo.registry.naming import model_digest, open_model, open_registered, registered
from vestigo.registry.splits import identity_key, is_test

__all__ = [
    "GATE",
    "Differences",
    "JudgedPair",
    "Leak",
    "Margins",
    "TrainingImage",
    "Verdict",
    "decide",
    "differences_of",
    "find_leaks",
    "identity_key",
    "is_test",
    "judge_pair",
    "model_digest",
    "open_model",
    "open_registered",
    "plain",
    "registered",
    "require_no_leak",
    "scores_of",
    "split_name",
]
