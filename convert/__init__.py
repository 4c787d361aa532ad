"""Converts a trained U-Net to one small `.tflite`, on a workstation with TensorFlow."""
