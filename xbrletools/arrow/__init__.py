"""Tables in Arrow's form without Arrow: columns of NumPy arrays that duckdb, polars and pyarrow read as they are."""
