"""Pages to delta bytes and back, in batches: NumPy arrays over records and pages, no file and no stream.

The wire's constants and layouts come from ``xbrletools.formats``.
"""
