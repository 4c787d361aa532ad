"""Frames from a source through the model to the output: the capture process, the pipeline, and their measurements."""
