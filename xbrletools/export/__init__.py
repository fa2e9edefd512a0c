"""Writes memory, disks and clean streams to files that other tools read."""
