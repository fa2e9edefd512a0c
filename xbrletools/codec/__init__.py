"""Pages to delta bytes and back, in batches: NumPy arrays over records and pages, without files or streams.

The wire's constants and layouts come from ``xbrletools.formats``.
"""
