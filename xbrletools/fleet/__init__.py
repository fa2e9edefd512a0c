"""Many captures: each becomes tables in Parquet, here or on other machines, one after the other or many at a time."""
