"""Datasets on the host: file formats, the order of examples, reading ahead; numpy only."""
