"""From annotated photos to a trained U-Net, on a workstation with TensorFlow."""
