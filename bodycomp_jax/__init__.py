"""Training of CT body-composition networks in JAX."""
