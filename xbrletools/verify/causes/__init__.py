"""Root causes, by testing hypotheses: which damage makes all the evidence after it consistent?

A stream is read strictly, from its bytes: what salvage decided does not count. Where evidence breaks, each family of
hypotheses says what it would leave. `diagnose.diagnose` is the one entry.
"""
