"""Slow, obvious twins of the stages in plain NumPy and SciPy, in double precision.

They are written from the formulae alone and share nothing with `larndsim` but its containers,
so that a stage that agrees with its twin has been derived twice.

Parameters are one float each. Units: cm, us, MeV, kV/cm, electrons.
"""
