"""Widgets that draw their own lines, for lists of any length."""
