"""Layers of the networks, with fast gradients."""
