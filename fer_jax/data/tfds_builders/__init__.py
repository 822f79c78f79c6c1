"""Builders of data sets for TensorFlow Datasets: importing this package makes `tfds.load("fer2013")` known."""

from fer_jax.data.tfds_builders.fer2013 import Fer2013

__all__ = ["Fer2013"]
