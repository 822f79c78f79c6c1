"""`fer-jax detector` in a checkout."""

from fer_jax import cli

if __name__ == "__main__":
    cli.main("detector")
