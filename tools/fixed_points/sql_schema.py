"""The tables of a new store as SQLAlchemy reflects them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from vestigo.store.location import CATALOGUE


def reflect(store: Path) -> dict[str, Any]:
    """Return the SQL schema of a store in a folder.

    Args:
        store: The store's folder.

    Returns:
        `revision` of Alembic, `tables` with columns, keys, constraints and indexes, and `triggers`.
    """
    engine = sa.create_engine(f"sqlite:///{store / CATALOGUE}")
    inspector = sa.inspect(engine)
    tables = sorted(inspector.get_table_names())
    with engine.connect() as connection:
        (version_table,) = [name for name in tables if _has_version(inspector, name)]
        revision = connection.scalar(sa.text(f"SELECT version_num FROM {version_table}"))
        triggers = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        found = {
            "revision": revision,
            "tables": {name: _table(inspector, name) for name in tables},
            "triggers": {name: " ".join(statement.split()) for name, statement in triggers},
        }
    engine.dispose()
    return found


def _has_version(inspector: sa.Inspector, table: str) -> bool:
    return [column["name"] for column in inspector.get_columns(table)] == ["version_num"]


def _table(inspector: sa.Inspector, name: str) -> dict[str, Any]:
    foreign = [
        f"{','.join(key['constrained_columns'])} -> {key['referred_table']}({','.join(key['referred_columns'])})"
        f" {' '.join(f'{option} {value}' for option, value in sorted(key['options'].items()))}".rstrip()
        for key in inspector.get_foreign_keys(name)
    ]
    return {
        "columns": {column["name"]: _column(column) for column in inspector.get_columns(name)},
        "primary key": inspector.get_pk_constraint(name)["constrained_columns"],
        "foreign keys": sorted(foreign),
        "unique": sorted(key["column_names"] for key in inspector.get_unique_constraints(name)),
        "checks": sorted(" ".join(check["sqltext"].split()) for check in inspector.get_check_constraints(name)),
        "indexes": {
            str(index["name"]): [str(column) for column in index["column_names"]]
            + (["unique"] if index["unique"] else [])
            for index in inspector.get_indexes(name)
        },
    }


def _column(column: Any) -> str:
    default = "" if column["default"] is None else f" DEFAULT {column['default']}"
    return f"{column['type']}{'' if column['nullable'] else ' NOT NULL'}{default}"
