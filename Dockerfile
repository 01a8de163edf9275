# syntax=docker/dockerfile:1
# The image runs `billing`; its default is the HTTP server. Postgres and Redis are other containers: the embedded ones stay out.
# A build that can be repeated pins both images: --build-arg BASE=python:3.13-slim@sha256:… --build-arg UV=ghcr.io/astral-sh/uv:0.13@sha256:…
ARG BASE=python:3.13-slim
ARG UV=ghcr.io/astral-sh/uv:0.13

FROM ${UV} AS uv

FROM ${BASE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/billing
ARG EXTRAS="--extra stripe --extra postgres --extra redis --extra server --extra cli --extra speed"
WORKDIR /build
# Dependencies first: this layer changes with the lock, not with every edit. Among them is what builds the project, so that it is
# pinned, too; the second step builds with it and removes it.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --group build --no-install-project ${EXTRAS}
COPY README.md LICENSE ./
COPY src ./src
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-editable --no-build-isolation-package billing-core ${EXTRAS}

FROM ${BASE}
# No program of the image may lend rights of its owner: files lose their setuid and setgid bits.
RUN groupadd --system --gid 10001 billing \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin billing \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/billing /opt/billing
ENV PATH=/opt/billing/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number: Kubernetes cannot see from a name that it is not root.
USER 10001:10001
EXPOSE 8080 9464
# An init process is not needed: the program handles SIGTERM itself and starts no other programs.
STOPSIGNAL SIGTERM
# /healthz says that this process answers; whether its databases do is /readyz's business and no reason for a restart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["billing"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
