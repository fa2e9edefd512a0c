"""A plugin folder for volatility3: `vol -p xbrletools/volatility -f S PLUGIN` runs its plugins on any capture.

Nothing is imported here, so that the folder does no harm where volatility3 is not installed.
"""
