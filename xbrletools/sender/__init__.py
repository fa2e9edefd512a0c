"""From memory to stream: the sender's page cache, its choices, and the bytes it writes.

It models the senders of 2010 to today. Snapshots of memory become a stream (`encode`), a capture becomes the stream of
another sender (`transcode`), and a capture's choices tell which sender wrote it (`fingerprint`).
"""
