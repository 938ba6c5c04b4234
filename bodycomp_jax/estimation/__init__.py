"""From series of CT slices to areas and densities of tissues at vertebral levels."""
