"""RAM records: where one ends, how deltas read, block lists, and the pages that other channels carry."""
