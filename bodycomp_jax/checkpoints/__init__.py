"""Networks and runs on disk: Orbax checkpoints, and Keras files of the reference system."""
