"""The scan of a capture: its bytes to facts and records, strictly or with salvage, and the cache of what it found."""
