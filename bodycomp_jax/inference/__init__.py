"""Trained networks as functions of CT slices."""
