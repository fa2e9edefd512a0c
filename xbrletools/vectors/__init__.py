"""Golden vectors: what an implementation of these formats is asked, and what it should answer.

README.md, beside this file, describes the set and the protocol for implementers.
"""
