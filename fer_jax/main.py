"""`fer-jax train` in a checkout: python -m fer_jax.main --config=configs/xception.py"""

from fer_jax import cli

if __name__ == "__main__":
    cli.main("train")
