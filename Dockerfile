# The page and the HTTP interface of fer-jax web, without a display, a network of its own or an account with rights.
#   docker build -t fer_jax .
#   docker run --rm --read-only --cap-drop=ALL -p 127.0.0.1:8765:8765 fer_jax

FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/fer_jax
RUN /opt/fer_jax/bin/pip install --no-cache-dir --constraint constraints.txt .
# OpenCV without windows: the other one needs libraries that the slim image lacks
RUN /opt/fer_jax/bin/pip uninstall --yes opencv-python
RUN /opt/fer_jax/bin/pip install --no-cache-dir "opencv-python-headless>=4.14,<5"
# YuNet now, so that the container never asks for it
RUN XDG_CACHE_HOME=/opt/cache /opt/fer_jax/bin/fer-jax detector yunet

FROM python:3.11-slim
COPY --from=build /opt /opt
ENV PATH=/opt/fer_jax/bin:/usr/local/bin:/usr/bin:/bin
ENV XDG_CACHE_HOME=/opt/cache
ENV FER_JAX_OFFLINE=1
ENV PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8765
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/healthz')"]
ENTRYPOINT ["fer-jax", "web", "--host=0.0.0.0"]
