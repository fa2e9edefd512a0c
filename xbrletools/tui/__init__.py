"""The browser: a capture on a terminal, page by page. It shows what the library computes, and computes nothing."""
