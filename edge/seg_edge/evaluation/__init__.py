"""How good and how fast a model is: annotated data, accuracy scores, latency, flicker."""
