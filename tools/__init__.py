"""The command lines; `fer-jax` runs them too."""

import fer_jax  # noqa: F401 it says which Python it needs, before anything that an old one has not
