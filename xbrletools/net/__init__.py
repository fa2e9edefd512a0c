"""Recording migrations as they happen."""
