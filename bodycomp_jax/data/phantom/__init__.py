"""Synthetic CT with exact labels and levels."""
