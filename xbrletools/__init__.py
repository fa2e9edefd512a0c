"""XBRLE and XBZRLE migration streams: read, verify, rebuild."""
