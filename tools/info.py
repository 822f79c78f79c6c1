"""`fer-jax info` in a checkout."""

from fer_jax import cli

if __name__ == "__main__":
    cli.main("info")
