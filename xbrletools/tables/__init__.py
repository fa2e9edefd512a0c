"""A capture as tables in Arrow's form: their schema, and pure functions from a Stream to their rows."""
