"""Frames from a source to the model and on: the guarded camera process, the pipeline, what both measure."""
