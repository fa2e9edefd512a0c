"""A plugin folder for volatility3: `vol -p xbrletools/volatility -f S PLUGIN` runs its plugins on any capture.

This file imports nothing, so the folder does no harm where volatility3 is not installed.
"""
