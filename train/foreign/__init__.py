"""Keras models from elsewhere, brought into the form that the rest of the project works on."""
