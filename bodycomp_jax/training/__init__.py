"""Training: runs, epochs, steps, data parallelism and tasks."""
