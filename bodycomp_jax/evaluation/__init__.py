"""Evaluation: which network or reader is better, and where each is wrong."""
