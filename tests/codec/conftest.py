"""No test asserts a time, so hypothesis must not either; and its examples are whole batches of pages."""

from hypothesis import settings

settings.register_profile("codec", deadline=None, max_examples=50)
settings.load_profile("codec")
