# One image for every part of Vestigo: the driver, Ray's head and workers, the screen, and the query server.
FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/vestigo
ENV PATH=/opt/vestigo/bin:$PATH
WORKDIR /src

# This large layer changes only with the pins. For a machine without GPUs, name an index with CPU builds of
# torch: docker compose build --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL=""
COPY constraints.txt ./
RUN pip install --constraint constraints.txt torch hatchling editables

COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY platform platform
COPY workers workers
COPY benchmarks/src/vestigo_benchmarks benchmarks/src/vestigo_benchmarks
COPY ui ui
COPY migrations migrations
RUN pip install --constraint constraints.txt --no-build-isolation .

FROM python:3.11-slim-bookworm

# The folders exist before the volumes, so that a new named volume belongs to the user who writes into it.
RUN useradd --create-home --uid 1000 vestigo \
    && install --directory --owner=vestigo --group=vestigo --mode=0750 /var/lib/vestigo /etc/vestigo \
    && install --directory --owner=vestigo --group=vestigo --mode=0700 /var/lib/vestigo-ui
COPY --from=build /opt/vestigo /opt/vestigo
ENV PATH=/opt/vestigo/bin:$PATH PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /footage
CMD ["vestigo", "--help"]
