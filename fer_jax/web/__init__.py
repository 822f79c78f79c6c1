"""A page with a camera: a browser's frames go over one WebSocket to `fer_jax.serve` in this process, faces come back.

Nothing is stored, and like `fer_jax.serve` it imports neither JAX nor TensorFlow. aiohttp is the server because it
alone brings all that is needed: HTTP, WebSockets that refuse messages above a size, and a client for tests.
"""
