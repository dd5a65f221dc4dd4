"""A PostgreSQL server that restarts, loses connections, or has none left."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from tests.support.fake_pipeline import MODEL, begin, images, index, work_off
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from vestigo.store import faults
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import DRAW, LABELS, QUERIES, RANKING
from vestigo.store.review.records import Annotation, NewTask, SamplingDesign
from vestigo.store.sql import database
from vestigo.store.sql.outages import find_outage
from vestigo_models.errors import StoreError, StoreUnavailable
from vestigo_models.schemas.builtin import MARKET_1501

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[TcpProxy]:
    url = make_url(postgres_url)
    with tcp_proxy(str(url.host), url.port or 0) as opened:
        yield opened


@pytest.fixture
def ref(proxy: TcpProxy, postgres_url: str, tmp_path: Path) -> Path:
    """A store behind the proxy that does not exist yet."""
    address = make_url(postgres_url).set(port=proxy.port).render_as_string(hide_password=False)
    path = tmp_path / "store.toml"
    path.write_text(f'database = "{address}"\ndata = "data"\n')
    return path


DESIGN = SamplingDesign(model=MODEL, strategy="random", unit="tracklet", budget=1, seed=0, population=0)
TASK = NewTask(key="t", source="s", camera="c", tracklet="", time=None, pid=None, crops=("c",), prediction=())


def index_image(store: Store) -> object:
    run = begin(store)
    store.runs.take_lease(run.id)
    store.shards.plan(run.id, [images(f"{run.id}.jpg"), images(f"{run.id}-2.jpg")])
    for task in store.shards.pending(run.id, limit=2):
        work_off(store, task)
    store.runs.heartbeat(run.id)
    return store.runs.finish(run.id, "succeeded").status, store.runs.totals(run.id).done


def review(store: Store) -> object:
    project = secrets.token_hex(8)
    store.review.ensure_project(project, MARKET_1501)
    store.review.link_project(project, "http://localhost", 1)
    store.review.save_sample(project, DESIGN, [TASK], DRAW.empty_table().to_batches())
    store.review.mark_pushed(project, {"t": 7})
    answer = Annotation(1, "ann", datetime(2026, 1, 1, tzinfo=UTC), {"hat": "yes"})
    changed = store.annotations.replace(project, {"t": [answer]})
    before = len(store.label_sets.list())
    store.label_sets.save(LABELS.empty_table().to_batches(), digest="d" * 64, tasks=0, projects=())
    deleted = store.review.mark_deleted(project, ["t"])
    return changed, deleted, len(store.label_sets.list()) - before, store.review.task_counts(project)


def rank(store: Store) -> object:
    store.rankings.save("all", model=MODEL, rows=RANKING.empty_table(), queries=QUERIES.empty_table(), settings={})
    return len(store.rankings.list()), store.rankings.get("all").rows


def judge(store: Store) -> object:
    before = len(store.audit.entries()), len(store.models.promotions())
    store.verdicts.record("a" * 64, "crop", "confirmed", user="ann")
    store.audit.record("ann", "search", details={})
    store.models.promote(MODEL, by="ann", reasons=[], expected_before=None)
    store.models.rollback(by="ann", reasons=[])
    after = len(store.audit.entries()), len(store.models.promotions())
    return after[0] - before[0], after[1] - before[1], store.audit.verify().intact


def read(store: Store) -> object:
    store.vacuum(now=True)
    store.cameras.set_clock_offset("c1", 1)
    report = store.check()
    return report.problems, report.crops, store.crops.get([], model=MODEL), store.runs.count(), store.runs.stale(MODEL)


@pytest.mark.parametrize("work", [index_image, rank, review, judge, read])
def test_connection_lost_at_any_message_changes_nothing(
    ref: Path, proxy: TcpProxy, work: Callable[[Store], Any]
) -> None:
    index(ref)
    with Store.open(ref) as store:
        work(store)
        proxy.sent.clear()
        undisturbed = work(store)
        messages = [bytes(message) for message in proxy.sent]
        commits = [number for number, message in enumerate(messages, 1) if b"COMMIT" in message]
        others = range(2, len(messages), 1 + len(messages) // 4)
        for last, proxy.lose_answer in [*((last, True) for last in commits), *((last, False) for last in others)]:
            proxy.sent.clear()
            proxy.last = last
            assert work(store) == undisturbed, f"message {last} was lost: {messages[last - 1][:80]!r}"
            proxy.last = None
        assert store.check().problems == ()


def test_short_outage_of_the_server_is_waited_for_and_reported_in_one_line(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(postgres_url)
    with tcp_proxy(str(url.host), url.port or 0) as proxy:
        ref = tmp_path / "store.toml"
        address = url.set(port=proxy.port).render_as_string(hide_password=False)
        ref.write_text(f'database = "{address}"\ndata = "data"\n')
        timers = [threading.Timer(0.2, proxy.restore) for _ in range(2)]
        waiting, cuts = iter(timers), {"commit.files", "finish.inside"}

        def cut_inside_commits(point: str) -> None:
            if point in cuts:
                cuts.remove(point)
                timer = next(waiting)
                proxy.cut()
                timer.start()

        faults.install(cut_inside_commits)
        try:
            run = index(ref)
        finally:
            faults.install(None)
        for timer in timers:
            timer.join()
        assert [record.name for record in caplog.records] == ["vestigo.store.patience"] * 2
        caplog.clear()
        with Store.open(ref) as store:
            assert store.runs.get(run.id).status == "succeeded"
            assert store.check().intact
            proxy.cut()
            back = threading.Timer(0.5, proxy.restore)
            back.start()
            assert store.runs.get(run.id).status == "succeeded"
            back.join()
            (line,) = (record.getMessage() for record in caplog.records)
            assert re.fullmatch(r"catalogue postgresql.* does not answer \(.*\): trying again for 60 s", line)
            proxy.cut()
            store.database.patience = 0.5
            with pytest.raises(StoreUnavailable, match=r"does not answer .*: check that the server runs"):
                store.runs.get(run.id)
        monkeypatch.setattr(database, "FIRST_PATIENCE_S", 0)
        with pytest.raises(StoreError, match="does not answer"):
            Store.open(ref)


@pytest.mark.parametrize(
    ("message", "is_short"),
    [
        ("connection to server at x failed: Connection refused", True),
        ("connection to server at x failed: FATAL:  the database system is starting up", True),
        ("connection to server at x failed: FATAL:  the database system is not yet accepting connections", True),
        ("FATAL:  terminating connection due to administrator command", True),
        ("connection to server at x failed: FATAL:  server login has been failing, try again later", True),
        ('connection to server at x failed: FATAL:  password authentication failed for user "u"', False),
        ('connection to server at x failed: FATAL:  database "x" does not exist', False),
    ],
)
def test_only_outages_that_pass_are_waited_for(message: str, is_short: bool) -> None:
    outage = find_outage(OperationalError("SELECT 1", {}, psycopg.OperationalError(message)))
    assert outage is not None
    assert outage.is_short == is_short


def test_command_that_starts_during_a_restart_waits(ref: Path, proxy: TcpProxy) -> None:
    index(ref)
    proxy.cut()
    back = threading.Timer(0.5, proxy.restore)
    back.start()
    with Store.open(ref) as store:
        assert store.check().intact
    back.join()


def test_server_without_free_connections_is_named(
    postgres_server: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "FIRST_PATIENCE_S", 0)
    ref = tmp_path / "store.toml"
    role = f"limited_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT 0")
        connection.execute(f"ALTER ROLE {role} NOSUPERUSER")
    ref.write_text(f'database = "{postgres_url.replace("vestigo@", f"{role}@")}"\ndata = "data"\n')
    with pytest.raises(StoreError, match=r"accepts no more connections \(.*\): .*max_connections"):
        Store.open(ref)
