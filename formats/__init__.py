"""The wire formats, declared with construct: what the bytes mean, and nothing else.

This folder imports as ``xbrletools.formats``. It is the only place with layouts; README.md beside it is the
readable specification, with a source for every fact.
"""
