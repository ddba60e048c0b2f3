# The operator and the embedded tracker in one image. The base is pinned by tag, not yet by digest.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Every package is checked against its hash here; what is installed below comes from this folder alone.
COPY constraints.txt ./
RUN pip download --require-hashes --only-binary=:all: --requirement constraints.txt --dest wheels
RUN python -m venv builder && builder/bin/pip install --no-index --find-links=wheels hatchling
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN builder/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir=dist .
RUN python -m venv --without-pip /opt/rollbook \
    && pip --python /opt/rollbook/bin/python install --no-index --find-links=wheels --find-links=dist \
       'rollbook[tracker]'

FROM ${PYTHON}
COPY --from=build /opt/rollbook /opt/rollbook
ENV PATH=/opt/rollbook/bin:$PATH PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["rollbook"]
CMD ["operator"]
