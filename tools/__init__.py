"""The commands in a checkout, where the package is not installed: python -m tools.webcam is `fer-jax webcam`."""
