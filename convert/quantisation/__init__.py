"""A Keras network as 8-bit integers."""
