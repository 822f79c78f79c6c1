"""A page with a camera: a browser sends frames over a WebSocket to `fer_jax.serve` in this process and gets faces back.

Nothing is stored. Like `fer_jax.serve` it imports neither JAX nor TensorFlow. The server is aiohttp, which has all that
is needed: HTTP, WebSockets with a maximum message size, and a client for tests.
"""
