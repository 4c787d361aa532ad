"""Whole filters taken out of a trained network."""
