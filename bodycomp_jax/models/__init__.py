"""The networks: `[B, H, W, C]` in, nothing known of training."""
