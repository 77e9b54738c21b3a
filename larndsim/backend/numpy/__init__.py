"""NumPy: no derivatives."""
