"""Training sets of synthetic subjects."""
