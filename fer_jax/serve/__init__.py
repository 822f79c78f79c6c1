"""A bundle at work: faces found, followed, classified and drawn, with numpy, OpenCV and ONNX Runtime alone.

Nothing in here imports JAX, Flax or TensorFlow, and a laptop needs none of them.
"""

from fer_jax.serve.classifier import Classifier, Prediction

__all__ = ["Classifier", "Prediction"]
