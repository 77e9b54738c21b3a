"""Fits of a detector's parameters to data, on top of `larndsim`."""
