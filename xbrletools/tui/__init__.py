"""The browser: one capture on the terminal. Only this package imports Textual.

`app` puts `screens` together and `reader` reads the capture in a thread beside. `session` holds what the screens share.
A screen is a file in `screens` and an entry in `screens.names`.
"""
