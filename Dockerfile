# The service as an image. One file for both kinds of machine:
#   PyTorch's wheel for Linux brings its own CUDA libraries, so that a plain Python image serves a GPU
#   host too; the driver comes in with the NVIDIA container toolkit. For a small image without CUDA let
#   pip find PyTorch's CPU wheels: see docs/decisions.md, "Container".
# Needs BuildKit (Docker's default builder) for the cache mounts. `make rehearse` runs these steps
# without Docker.

# Any Debian image whose `python` is 3.11 or 3.12. Every wheel brings its native libraries along;
# beyond that they need libc, libstdc++, libgcc and zlib, which each Python image has.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

# Fixed and numeric, so that an orchestrator can see that it is not root.
RUN groupadd --gid 10001 dpdf \
    && useradd --uid 10001 --gid dpdf --no-create-home --shell /usr/sbin/nologin dpdf \
    && install --directory --owner=dpdf --group=dpdf --mode=0700 /var/lib/dpdf

WORKDIR /srv/dpdf

# Where else pip may look, for example for PyTorch's CPU wheels.
ARG PIP_EXTRA_INDEX_URL

# Changes rarely: gigabytes. pip's cache is mounted, not copied into the image.
COPY --chmod=0755 requirements.txt requirements-nodeps.txt constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install -c constraints.txt -r requirements.txt \
    && python -m pip install --no-deps -r requirements-nodeps.txt

# Changes with every release: kilobytes. Readable by the service's user, whatever the umask was here.
COPY --chmod=0755 docker/start.py docker/health.py docker/warm_up.py docker/
COPY --chmod=0755 model/*.py model/
COPY --chmod=0755 preprocessing preprocessing
COPY --chmod=0755 service service

# What librosa compiles and matplotlib lists at their first use, done once and for all. For a generic
# x86-64 or ARM processor: numba discards what was compiled for another model than the one it runs on.
ENV BAKED_CACHE=/opt/dpdf-cache \
    NUMBA_CPU_NAME=generic
RUN NUMBA_CACHE_DIR="$BAKED_CACHE/numba" MPLCONFIGDIR="$BAKED_CACHE/matplotlib" \
    python -m docker.warm_up \
    && python -m compileall -q docker model preprocessing service \
    && chmod -R a+rX "$BAKED_CACHE"

# Changes with every training: megabytes.
COPY --chmod=0444 model/weights/default.safetensors model/weights/

# numba insists on writing beside what it reads, and the root file system may be read-only: start.py
# copies the baked files to here.
ENV NUMBA_CACHE_DIR=/tmp/dpdf-cache/numba \
    MPLCONFIGDIR=/tmp/dpdf-cache/matplotlib \
    XDG_CACHE_HOME=/tmp/dpdf-cache \
    HF_HUB_OFFLINE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    DPDF_JOB_DIRECTORY=/var/lib/dpdf \
    DPDF_HOST=0.0.0.0 \
    DPDF_PORT=8000

# Accepted jobs outlive the container.
VOLUME ["/var/lib/dpdf"]

USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=180s --retries=3 \
    CMD ["python", "docker/health.py"]
ENTRYPOINT ["python", "docker/start.py"]
CMD ["python", "-m", "service"]
