# syntax=docker/dockerfile:1
# The image runs `billing`; its default is the HTTP server. Postgres and Redis are other containers: the embedded ones stay out.
FROM python:3.13-slim AS build
COPY --from=ghcr.io/astral-sh/uv:0.13 /uv /usr/local/bin/uv
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/billing
ARG EXTRAS="--extra stripe --extra postgres --extra redis --extra server --extra cli --extra speed"
WORKDIR /build
# Dependencies first: this layer changes with the lock, not with every edit.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-install-project ${EXTRAS}
COPY README.md LICENSE ./
COPY src ./src
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable ${EXTRAS}

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin billing
COPY --from=build /opt/billing /opt/billing
ENV PATH=/opt/billing/bin:$PATH PYTHONUNBUFFERED=1
USER billing
EXPOSE 8080
# /healthz says that this process answers; whether its databases do is /readyz's business and no reason for a restart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["billing"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
