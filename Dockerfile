# This image has three uses: the command line, the publisher as a service, and the Lambda functions.
#
#   docker run --rm --env-file prod.env payctl stats
#   docker run -d   --env-file prod.env payctl publish-outbox --loop --health-file /tmp/payctl-alive
#   Lambda          ENTRYPOINT ["/opt/payctl/bin/python", "-m", "awslambdaric"], CMD ["lambda_entrypoints.webhook.handler"]
#
# The base image is pinned to a patch release. In your own pipeline, also pin it to a digest
# (PYTHON_IMAGE=...@sha256:...). The digest depends on the registry that you use.
ARG PYTHON_IMAGE=python:3.13.7-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY locks/build.txt locks/cli.txt locks/lambda.txt locks/msk.txt locks/sbom.txt locks/
# The environments contain no pip. The base image's pip installs their packages.
RUN python -m venv --without-pip tools \
 && python -m pip --python tools/bin/python install --quiet --no-compile --require-hashes -r locks/build.txt \
 && python -m venv --without-pip /opt/payctl \
 && python -m pip --python /opt/payctl/bin/python install --quiet --no-compile --require-hashes --only-binary=:all: \
      -r locks/cli.txt -r locks/lambda.txt -r locks/msk.txt
COPY pyproject.toml README.md LICENSE ./
COPY ticketbottle_payctl ticketbottle_payctl
COPY lambda_entrypoints lambda_entrypoints
# The image contains bytecode. The container's file system may be read-only, so Python could not store it at run time.
RUN python -m pip --python tools/bin/python wheel --quiet --no-deps --no-build-isolation --wheel-dir wheels . \
 && python -m pip --python /opt/payctl/bin/python install --quiet --no-deps --no-compile wheels/*.whl \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/payctl/lib
# Lists of the image's packages and licences: /opt/payctl/share/payctl/sbom.cdx.json and licences.txt.
COPY deploy/sbom.py deploy/sbom.py
RUN python -m venv --without-pip sbom \
 && python -m pip --python sbom/bin/python install --quiet --no-compile --require-hashes --only-binary=:all: \
      -r locks/sbom.txt \
 && sbom/bin/python deploy/sbom.py --interpreter /opt/payctl/bin/python --target /opt/payctl/share/payctl

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin payctl
COPY --from=build /opt/payctl /opt/payctl
ENV PATH=/opt/payctl/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
# Only the publisher updates this file: before each search for events, after each batch, and while it waits for an
# unavailable broker or database, because a restart would not help then. If the file is old, the publisher hangs. Ignore
# this health check for other commands.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["sh", "-c", "test -n \"$(find /tmp/payctl-alive -mmin -2 2>/dev/null)\""]
ENTRYPOINT ["payctl"]
CMD ["--help"]
