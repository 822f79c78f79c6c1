"""Measure training and serving here, and read what compilers expect of other devices: `python -m tools.benchmark`."""
