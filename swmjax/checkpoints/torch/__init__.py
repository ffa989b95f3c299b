"""Checkpoints of the reference: torch archives read and written without torch."""
