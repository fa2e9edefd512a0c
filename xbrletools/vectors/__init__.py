"""Golden vectors: what an implementation of these formats is asked, and what it should answer.

The set and the protocol are described for implementers in README.md, beside this file.
"""
