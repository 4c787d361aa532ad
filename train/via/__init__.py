"""Annotations of VGG Image Annotator (VIA), as regions of photos."""
