"""Consensus of several annotators."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestigo.review.labels.agreement import find_consensus

VOTES = st.dictionaries(
    st.sampled_from(["ana", "ben", "cem", "dua", "eva"]),
    st.dictionaries(st.sampled_from(["hat", "bag"]), st.sampled_from(["no", "yes", "cannot tell"])),
)


@given(VOTES)
def test_label_needs_more_than_half_of_the_votes(annotations: dict[str, dict[str, str]]) -> None:
    consensus = find_consensus(annotations)
    for attribute in ("hat", "bag"):
        votes = [answers[attribute] for answers in annotations.values() if attribute in answers]
        winners = [answer for answer in ("no", "yes", "cannot tell") if votes.count(answer) > len(votes) / 2]
        assert consensus.labels.get(attribute) == (winners[0] if winners else None)
        conflicting = [conflict for conflict in consensus.conflicts if conflict.attribute == attribute]
        assert len(conflicting) == (1 if votes and not winners else 0)
        assert all(sorted(conflict.values.values()) == sorted(votes) for conflict in conflicting)


def test_consensus_is_independent_of_order() -> None:
    annotations = {"ana": {"hat": "no"}, "ben": {"hat": "yes"}, "cem": {"hat": "cannot tell", "bag": "no"}}
    assert (
        len({str(find_consensus(dict(order)).conflicts) for order in itertools.permutations(annotations.items())}) == 1
    )


@pytest.mark.parametrize(
    ("annotations", "line"),
    [
        ({"ana": {"hat": "no"}, "ben": {"hat": "yes"}}, "hat: no (ana), yes (ben)"),
        (
            {"eva": {"hat": "no"}, "ana": {"hat": "no"}, "ben": {"hat": "yes"}, "cem": {"hat": "yes"}},
            "hat: no (ana, eva), yes (ben, cem)",
        ),
    ],
)
def test_conflict_names_annotators_and_values(annotations: dict[str, dict[str, str]], line: str) -> None:
    assert [str(conflict) for conflict in find_consensus(annotations).conflicts] == [line]
