"""Salvage: read on after damage, at the next place where records can be believed, and say what was skipped.

A run of records ends where something stands that an undamaged sender never writes (`skeptic`). The search for the next
run looks for chains of records that agree in their flags, addresses, block names, spacing and payloads (`resync`).
What is claimed, and what cannot be seen: docs/salvage.md.
"""
