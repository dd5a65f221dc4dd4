"""The SQL side of the store: tables, connections, migrations."""
