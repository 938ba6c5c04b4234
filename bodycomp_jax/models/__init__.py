"""The networks: `[B, H, W, C]` in, independent of training."""
