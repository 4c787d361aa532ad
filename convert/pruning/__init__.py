"""Removes whole filters from a trained network."""
