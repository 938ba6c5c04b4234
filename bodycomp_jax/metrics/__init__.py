"""Metrics: computed per example, summarised per set, and drawn."""
