"""The device side: losses, metrics, augmentation, the step and the loop."""
