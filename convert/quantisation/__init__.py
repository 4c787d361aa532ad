"""Quantises a Keras network to 8-bit integers."""
