"""Tables of rankings: how they were made, their scores and what limits these, and the scores of each query."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st

from vestigo.evaluation.metrics.ranking import SCORED
from vestigo.evaluation.metrics.truncated import TRUNCATED_REASONS, UNKNOWN_CAMERA, UNKNOWN_PID
from vestigo.store.rankings.repository import SavedRanking
from vestigo_models.arrays import Int64Array
from vestigo_ui.app.components.tables import open_row, show_table
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.rankings.scores import OpenRanking, RankingPair, sort_queries
from vestigo_ui.app.text import count_text, escape_md, format_utc

UNKNOWN = "–"
AP, GAIN = "AP (%)", "AP gained (%)"
MAX_ROWS = 5000
"""Queries of the table of queries."""
KINDS = {"crops": "Crops", "tracklets": "Tracklets", "images": "Images"}


def ranking_table(rankings: Sequence[SavedRanking], models: Mapping[str, str]) -> pd.DataFrame:
    """Return one row for each ranking; `models` are names by digest."""
    rows = [
        {
            "Ranking": ranking.name,
            "Made (UTC)": format_utc(ranking.created),
            "Model": format_model(ranking, models),
            "Queries": ranking.queries,
            "Source": describe_source(ranking),
            "Rows": ranking.rows,
            "Top": ranking.settings.get("top"),
            "Settings": ", ".join(describe_settings(ranking)) or ("Defaults" if ranking.settings else UNKNOWN),
        }
        for ranking in rankings
    ]
    return pd.DataFrame(rows)


def format_model(ranking: SavedRanking, models: Mapping[str, str]) -> str:
    """Return the name of a ranking's model with the start of its digest."""
    return f"{models.get(ranking.model, 'unknown')} ({ranking.model[:8]})"


def describe_source(ranking: SavedRanking) -> str:
    """Return what the queries are."""
    kind = KINDS.get(ranking.settings.get("kind", ""), UNKNOWN)
    return f"{kind} of {ranking.settings['source']}" if ranking.settings.get("source") else kind


def describe_settings(ranking: SavedRanking) -> list[str]:
    """Return the settings that differ from the defaults."""
    settings, parts = ranking.settings, []
    if settings.get("filter", "off") != "off":
        mode, threshold = str(settings["filter"]), settings.get("threshold")
        at = f" at {threshold:.2f}" if threshold is not None and mode != f"{threshold:g}" else ""
        parts.append(f"filter {mode}{at}, {format_percent(settings['kept_fraction'])} of the crops kept")
    if settings.get("where"):
        parts.append(f"where {settings['where']}")
    if settings.get("cameras") is not None:
        parts.append(f"cameras {', '.join(settings['cameras'])}")
    for word, name in (("from", "since"), ("to", "until")):
        if settings.get(name):
            parts.append(f"{word} {settings[name][:19].replace('T', ' ')}")
    if settings.get("without_time"):
        parts.append(f"{count_text(settings['without_time'], 'crop')} without a time left out")
    return parts


def describe_ranking(ranking: SavedRanking, models: Mapping[str, str], snapshot: str) -> str:
    """Return how a ranking was made; `snapshot` is that of the store now."""
    settings = ranking.settings
    source = describe_source(ranking).lower() if settings else "of an unknown source"
    parts = [
        f"{format_utc(ranking.created)} UTC",
        f"model {format_model(ranking, models)}",
        f"{ranking.queries:,} queries ({source})",
    ]
    if settings:
        parts.append(f"top {settings['top']:,} of {settings['compared']:,} crops")
    parts += describe_settings(ranking)
    if settings.get("snapshot", snapshot) != snapshot:
        parts.append("the store has changed since")
    return " · ".join(parts)


def show_summary(context: PageContext, opened: OpenRanking, pair: RankingPair | None) -> None:
    """Show the scores of one or two rankings with what limits them, or why there are none."""
    shown = [opened] if pair is None else [opened, pair.second]
    if not any(ranked.has_scores for ranked in shown):
        if opened.ranking.queries_path is None:
            text = (
                "This ranking has no identities: an older version of Vestigo made it. Rank again to get scores: "
                "`vestigo rank QUERIES --store STORE --name NAME`."
            )
        else:
            text = (
                "There are no scores: the identities of the queries are unknown, or the gallery has no true match. "
                "Identities come from datasets in a benchmark's layout."
            )
        st.info(text, icon=":material/help:")
        return
    number = st.column_config.NumberColumn(format="%.1f")
    columns = {"95 % from": number, "to": number}
    show_table(context, score_table(shown), name="scores", title="Scores", columns=columns)
    if pair is not None:
        st.markdown(escape_md(describe_difference(pair)))
    notes = []
    for ranked in shown:
        if note := "; ".join(describe_limits(ranked)):
            name = "" if pair is None else f"**{escape_md(ranked.ranking.name)}**: "
            notes.append(f"{name}{note[0].upper()}{note[1:]}.")
    if notes:
        st.caption("  \n".join(notes))


def score_table(shown: Sequence[OpenRanking]) -> pd.DataFrame:
    """Return one row of scores in percent for each ranking."""
    rows = []
    for opened in shown:
        scores, mean = opened.scores.scores, opened.mean
        cmc, ap = opened.cmc(max(10, opened.depth)), scores.ap[scores.scored]
        rows.append(
            {
                "Ranking": opened.ranking.name,
                "Queries": len(opened.scores),
                "Scored": int(scores.scored.sum()),
                "mAP (%)": 100 * float(ap.mean()) if len(ap) else None,
                "95 % from": mean.low if mean else None,
                "to": mean.high if mean else None,
                **{f"Rank-{rank} (%)": cmc[rank - 1] if len(ap) else None for rank in (1, 5, 10)},
                "Missed": scores.missed,
            }
        )
    return pd.DataFrame(rows)


def describe_limits(opened: OpenRanking) -> list[str]:
    """Return what limits a ranking's scores: matches beyond the saved rows, and queries without a score."""
    scores, limits = opened.scores.scores, []
    if scores.missed:
        limits.append(
            f"{scores.missed:,} of {int(scores.matches.sum()):,} true matches are not among the saved rows and count "
            "as missed: mAP is a lower bound"
        )
    if scores.excluded:
        reasons = ", ".join(f"{count:,} ({reason})" for reason, count in scores.excluded.items())
        limits.append(f"not scored: {reasons}")
    return limits


def describe_difference(pair: RankingPair) -> str:
    """Return the difference in mAP between two rankings in a sentence."""
    first, second, difference = pair.first.ranking.name, pair.second.ranking.name, pair.difference
    if not len(pair.first_queries):
        return f"{first} and {second} have no query in common."
    if difference is None:
        return f"{len(pair.first_queries):,} queries are in both rankings; too few are scored in both to compare them."
    sign = 1 if difference.difference >= 0 else -1
    better, worse = (second, first) if sign > 0 else (first, second)
    low, high = sorted((sign * difference.low, sign * difference.high))
    return (
        f"On the {int((pair.gain == pair.gain).sum()):,} queries that both score, {better} has "
        f"{abs(difference.difference):.1f} points of mAP more than {worse} (95 %: {low:.1f} to {high:.1f}, "
        f"p = {difference.chance:.3f})."
    )


def show_query_table(context: PageContext, opened: OpenRanking, pair: RankingPair | None, *, order: str) -> None:
    """Show the queries with their scores; a selected one opens."""
    queries = sort_queries(opened, pair, order)
    if not len(queries):
        st.info("The rankings share no query.")
        return
    if len(queries) > MAX_ROWS:
        st.caption(f"The first {MAX_ROWS:,} of {len(queries):,} queries in this order.")
    frame = query_table(opened, pair, queries[:MAX_ROWS])
    ranking = opened.ranking.name
    context.audit_once("view", what="ranking in numbers", ranking=ranking, queries=len(frame), order=order)
    options = {"name": f"queries-{ranking}", "title": f"Queries of {ranking}", "height": 640}
    open_row(context, frame, "query", frame["Query"].tolist(), "page", **options)


def query_table(opened: OpenRanking, pair: RankingPair | None, numbers: Int64Array) -> pd.DataFrame:
    """Return one row for each query, with scores of both rankings of a pair next to each other."""
    scores = opened.scores
    pids, camids = scores.pids[numbers], scores.camids[numbers]
    cameras = np.array([*scores.cameras, None], object)
    frame = pd.DataFrame(
        {
            "Query": scores.names.take(pa.array(numbers)).to_pylist(),
            "Identity": pd.array(np.where(pids == UNKNOWN_PID, 0, pids), "Int64"),
            "Camera": cameras[np.where(camids == UNKNOWN_CAMERA, len(scores.cameras), camids)],
            **_score_columns(opened, numbers, ""),
        }
    )
    frame.loc[pids == UNKNOWN_PID, "Identity"] = pd.NA
    if pair is None:
        return frame
    place = np.full(len(scores), -1)
    place[pair.first_queries] = np.arange(len(pair.first_queries))
    rows, name = place[numbers], pair.second.ranking.name
    frame = frame.assign(**_score_columns(pair.second, pair.second_queries[rows], f"{name}: "))
    frame[GAIN] = 100 * pair.gain[rows]
    first = [*frame.columns[:4], f"{name}: {AP}", GAIN]
    return frame[[*first, *(column for column in frame.columns if column not in first)]]


def _score_columns(opened: OpenRanking, numbers: Int64Array, prefix: str) -> dict[str, Any]:
    scores = opened.scores.scores
    status = scores.status[numbers]
    scored = status == SCORED
    first = pd.array(scores.first[numbers], "Int64")
    first[scores.first[numbers] == 0] = pd.NA
    columns: dict[str, Any] = {
        f"{prefix}{AP}": 100 * scores.ap[numbers],
        f"{prefix}First match": first,
        f"{prefix}Retrieved": pd.array(np.where(scored, scores.retrieved[numbers], 0), "Int64"),
        f"{prefix}True matches": pd.array(np.where(scored, scores.matches[numbers], 0), "Int64"),
    }
    if not scored.all():
        columns[f"{prefix}Not scored"] = [TRUNCATED_REASONS.get(int(code), "") for code in status]
    return columns


def format_percent(value: float) -> str:
    """Return a fraction in percent, a dash for NaN."""
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if value == value else UNKNOWN


def format_points(gain: float) -> str:
    """Return a difference of two fractions in points with its sign."""
    return f"{100 * gain:+.1f}".replace("-", "−")
