"""Packet dumps: the TCP connections of a migration, put together again from what tcpdump or Wireshark recorded."""
