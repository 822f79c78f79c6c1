"""High-throughput training of facial-expression recognisers in JAX/Flax, and serving without it.

Importing the package is cheap: JAX, Flax and TensorFlow are imported by the modules that use them.
"""

__version__ = "0.1.0"
