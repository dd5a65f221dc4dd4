"""The store: a SQL catalogue and immutable Parquet files."""
