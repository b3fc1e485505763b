# Three images from one file:
#   node          the agent: the protocol, its workloads and what shapes and captures its own interfaces
#   orchestrator  the node image plus the testbed: topologies, back ends, scapy-based probes
#   node-quic     the node image plus aioquic, for labs with flows over QUIC
#
# Plain instructions only (no BuildKit features), so that the engine's own builder, which the Docker
# SDK drives, makes the same images as `docker compose build`. That builder makes all stages before the one
# asked for: those of the nodes come first.

FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# iproute2: tc and routes; ethtool: offloads; iptables: the NFQUEUE rule of the user-space shaper (no netem).
RUN apt-get update \
 && apt-get install -y --no-install-recommends iproute2 iptables ethtool \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log


# Packages are installed here, and only the results are copied on: pip stays behind.
FROM base AS node-packages
COPY .ci/requirements/node.txt /requirements/
RUN python -m venv --without-pip /opt/narrows \
 && python -m pip --python /opt/narrows/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
        --only-binary :all: --require-hashes -r /requirements/node.txt \
 && find /opt/narrows/lib -type d -name tests -prune -exec rm -rf {} +


FROM base AS node
COPY --from=node-packages /opt/narrows /opt/narrows
ENV PATH=/opt/narrows/bin:$PATH
WORKDIR /opt/narrows/app
COPY node/ node/
# Bytecode is compiled once here: containers start faster, and write nothing. The official base image has none of
# the standard library, without which an agent takes 0.6 s of CPU to start, not 0.25: what it imports gets some.
RUN python -m compileall -q /opt/narrows/app /opt/narrows/lib \
 && PYTHONDONTWRITEBYTECODE= python -c "import node.__main__, node.agent.run, node.agent.health"
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 CMD ["python", "-m", "node", "health"]
ENTRYPOINT ["python", "-m", "node"]
# By it `narrows gc` finds images that have lost their names to newer ones.
LABEL narrows.stage=node


# In place: of a copied directory, the layer would hold all packages a second time. pip is in the base alone.
FROM node AS node-quic
COPY .ci/requirements/quic.txt /requirements/
RUN PATH=${PATH#/opt/narrows/bin:} python -m pip --python /opt/narrows/bin/python install \
        --no-cache-dir --no-compile --disable-pip-version-check --only-binary :all: --require-hashes -r /requirements/quic.txt \
 && find /opt/narrows/lib -type d -name tests -prune -exec rm -rf {} + \
 && python -m compileall -q /opt/narrows/lib
LABEL narrows.stage=node-quic


FROM node-packages AS orchestrator-packages
COPY .ci/requirements/orchestrator.txt /requirements/
RUN python -m pip --python /opt/narrows/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
        --only-binary :all: --require-hashes -r /requirements/orchestrator.txt \
 && find /opt/narrows/lib -type d -name tests -prune -exec rm -rf {} +


FROM base AS orchestrator
COPY --from=orchestrator-packages /opt/narrows /opt/narrows
ENV PATH=/opt/narrows/bin:$PATH
WORKDIR /opt/narrows/app
COPY node/ node/
COPY orchestrator/ orchestrator/
COPY topologies/ topologies/
RUN python -m compileall -q /opt/narrows/app /opt/narrows/lib
ENTRYPOINT ["python", "-m", "orchestrator"]
LABEL narrows.stage=orchestrator
