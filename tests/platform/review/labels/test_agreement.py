"""Several reviewers of one task."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestigo.review.labels.agreement import agree

VOTES = st.dictionaries(
    st.sampled_from(["ana", "ben", "cem", "dua", "eva"]),
    st.dictionaries(st.sampled_from(["hat", "bag"]), st.sampled_from(["no", "yes", "cannot tell"])),
)


@given(VOTES)
def test_an_answer_holds_exactly_where_more_than_half_give_it(said: dict[str, dict[str, str]]) -> None:
    found = agree(said)
    for attribute in ("hat", "bag"):
        votes = [one[attribute] for one in said.values() if attribute in one]
        winners = [answer for answer in ("no", "yes", "cannot tell") if votes.count(answer) > len(votes) / 2]
        assert found.answers.get(attribute) == (winners[0] if winners else None)
        conflicting = [conflict for conflict in found.conflicts if conflict.attribute == attribute]
        assert len(conflicting) == (1 if votes and not winners else 0)
        assert all(sorted(conflict.said.values()) == sorted(votes) for conflict in conflicting)


def test_the_order_of_reviewers_does_not_matter() -> None:
    said = {"ana": {"hat": "no"}, "ben": {"hat": "yes"}, "cem": {"hat": "cannot tell", "bag": "no"}}
    assert len({str(agree(dict(order)).conflicts) for order in itertools.permutations(said.items())}) == 1


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"ana": {"hat": "no"}, "ben": {"hat": "yes"}}, "hat: no (ana), yes (ben)"),
        (
            {"eva": {"hat": "no"}, "ana": {"hat": "no"}, "ben": {"hat": "yes"}, "cem": {"hat": "yes"}},
            "hat: no (ana, eva), yes (ben, cem)",
        ),
    ],
)
def test_a_conflict_names_who_said_what(said: dict[str, dict[str, str]], line: str) -> None:
    assert [str(conflict) for conflict in agree(said).conflicts] == [line]
