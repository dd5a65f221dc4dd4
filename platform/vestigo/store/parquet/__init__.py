"""The Parquet side of the store: schemas, files, read-ahead."""
