"""Annotations of photos, whichever tool wrote them, as regions."""
