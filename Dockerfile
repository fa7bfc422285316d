# axopt with its notebooks and Jupyter.
#
# Build; --build-arg PIP_EXTRA_INDEX_URL=... names an index with the much smaller CPU build of torch:
#   docker build -t axopt .
# Run the search of `make demo`:
#   docker run --rm -v "$PWD/runs:/opt/axopt/runs" axopt
# Open the notebooks:
#   docker run --rm -p 8888:8888 axopt jupyter lab --ip=0.0.0.0 --no-browser notebooks
FROM python:3.11-slim

# gcc compiles the kernels; libgomp1 is the OpenMP runtime that they use.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libgomp1 make \
    && rm -rf /var/lib/apt/lists/*

ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/axopt

# Slow layers come first; they change only with the pins.
COPY constraints.txt ./
RUN pip install -c constraints.txt torch
RUN pip install -c constraints.txt setuptools wheel cython numpy jupyterlab

COPY . .
RUN pip install -c constraints.txt --no-build-isolation --editable '.[test]'

RUN useradd --create-home axopt && chown -R axopt /opt/axopt
USER axopt
CMD ["python", "-m", "axopt", "search", "--model", "digits_small", "--budget", "150", "--points", "12", \
    "--out", "runs/demo", "--force"]
