"""Numbers that tell how good a prediction is: per example, then summed up, and drawn."""
