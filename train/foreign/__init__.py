"""Keras models from elsewhere, converted to the form that the rest of the project expects."""
