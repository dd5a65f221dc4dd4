"""Rankings in words: what made them, how they are told apart, what a number in them rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.store.rankings.repository import SavedRanking
from vestigo_ui.app.pages.rankings.scores import RankingPair, ScoredRanking
from vestigo_ui.app.text import format_utc

UNKNOWN = "–"
SHORT = 8
KINDS = {"crops": "Crops", "tracklets": "Tracklets", "images": "Images"}


def listed(rankings: Sequence[SavedRanking], models: Mapping[str, str]) -> pd.DataFrame:
    """Return the rankings as a table; `models` are names by digest."""
    return pd.DataFrame(
        [
            {
                "Ranking": one.name,
                "Made (UTC)": format_utc(one.created),
                "Model": model_name(one, models),
                "Queries": one.queries,
                "Of": asked(one),
                "Rows": one.rows,
                "Top": one.settings.get("top"),
                "Settings": ", ".join(settings(one)) or ("Defaults" if one.settings else UNKNOWN),
            }
            for one in rankings
        ]
    )


def model_name(ranking: SavedRanking, models: Mapping[str, str]) -> str:
    """Return the name of a ranking's model, with the beginning of its digest."""
    return f"{models.get(ranking.model, 'unknown')} ({ranking.model[:SHORT]})"


def asked(ranking: SavedRanking) -> str:
    """Say what the queries are."""
    kind = KINDS.get(ranking.settings.get("kind", ""), UNKNOWN)
    return f"{kind} of {ranking.settings['source']}" if ranking.settings.get("source") else kind


def settings(ranking: SavedRanking) -> list[str]:
    """Say in what a ranking's settings differ from those of a plain one."""
    made = ranking.settings
    said = []
    if made.get("filter", "off") != "off":
        threshold = made.get("threshold")
        at = f" at {threshold:.2f}" if threshold is not None and str(made["filter"]) not in (f"{threshold:g}",) else ""
        said.append(f"filter {made['filter']}{at}, {percent(made['kept_fraction'])} of the crops stayed")
    if made.get("where"):
        said.append(f"where {made['where']}")
    if made.get("cameras") is not None:
        said.append(f"cameras {', '.join(made['cameras'])}")
    for word, name in (("from", "since"), ("to", "until")):
        if made.get(name):
            said.append(f"{word} {made[name][:19].replace('T', ' ')}")
    return said


def heading(ranking: SavedRanking, models: Mapping[str, str], snapshot: str) -> str:
    """Say in a line what made a ranking, and whether the store still shows what it did (`snapshot` names that)."""
    made = ranking.settings
    parts = [
        f"{format_utc(ranking.created)} UTC",
        f"model {model_name(ranking, models)}",
        f"{ranking.queries:,} queries ({asked(ranking).lower() if made else 'not known of what'})",
    ]
    if made:
        parts.append(f"top {made['top']:,} of {made['compared']:,} crops")
    changed = ["the archive has changed since"] if made.get("snapshot", snapshot) != snapshot else []
    return " · ".join([*parts, *settings(ranking), *changed])


def scores(shown: Sequence[ScoredRanking]) -> pd.DataFrame:
    """Return the scores of rankings as a table, in percent."""
    rows = []
    for one in shown:
        found = one.judged.scores
        cmc = one.cmc(max(10, one.depth))
        ap = found.ap[found.scored]
        rows.append(
            {
                "Ranking": one.ranking.name,
                "Queries": len(one.judged),
                "Scored": int(found.scored.sum()),
                "mAP (%)": 100 * float(ap.mean()) if len(ap) else None,
                "95 % from": one.mean.low if one.mean else None,
                "to": one.mean.high if one.mean else None,
                **{f"Rank-{rank} (%)": cmc[rank - 1] if len(ap) else None for rank in (1, 5, 10)},
                "Not found": found.missed,
            }
        )
    return pd.DataFrame(rows)


def caveats(one: ScoredRanking) -> list[str]:
    """Say what a ranking's scores do not tell."""
    found, said = one.judged.scores, []
    if found.missed:
        all_ = int(found.matches.sum())
        said.append(
            f"{found.missed:,} of {all_:,} true matches are not among the kept rows and count as not found: "
            "mAP is a lower bound"
        )
    if found.excluded:
        reasons = ", ".join(f"{count:,} ({reason})" for reason, count in found.excluded.items())
        said.append(f"not scored: {reasons}")
    return said


def compared(both: RankingPair, first: str, second: str) -> str:
    """Say in a sentence by how much the second ranking is better than the first."""
    shared = int((both.gain == both.gain).sum())
    if not len(both.first):
        return f"{first} and {second} have no query in common."
    if both.difference is None:
        return f"{len(both.first):,} queries are in both; too few of them are scored in both to compare."
    told = both.difference
    better, worse = (second, first) if told.difference >= 0 else (first, second)
    return (
        f"On the {shared:,} queries that both score, {better} has {abs(told.difference):.1f} points of mAP more than "
        f"{worse} (95 %: {_span(told)}; chance alone goes as far in {percent(told.chance)} of cases)."
    )


def _span(told: Difference) -> str:
    low, high = (told.low, told.high) if told.difference >= 0 else (-told.high, -told.low)
    return f"{low:.1f} to {high:.1f}"


def percent(value: float) -> str:
    """Return a fraction in percent, a dash for NaN."""
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if value == value else UNKNOWN


def points(gain: float) -> str:
    """Return a difference of two fractions in points, with its sign."""
    return f"{100 * gain:+.1f}".replace("-", "−")
