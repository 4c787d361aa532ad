"""Measures speed and accuracy of our models and of others; every figure comes with its machine and load."""
