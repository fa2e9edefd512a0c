"""From memory to stream: the sender's page cache, its choices, and the bytes it writes."""
