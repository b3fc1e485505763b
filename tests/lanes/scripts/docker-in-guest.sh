#!/bin/bash
# docker-in-guest.sh CMD... - runs INSIDE User-Mode Linux: starts a Docker engine on the disk /dev/ubda (made by
# make-disk.sh, passed as FILE:cow), runs CMD with DOCKER_HOST set, stops the engine. The status is CMD's.
# Containers in there have a kernel with netem, whatever the machine's own kernel lacks.
set -u
log() { printf '[docker-in-guest] %s\n' "$*" >&2; }
[ -n "${IN_UML:-}" ] || { log "only inside User-Mode Linux: see run-in-uml"; exit 2; }
mkdir -p /run/dk /var/lib/docker; mount -t ext4 /dev/ubda /run/dk || exit 1
export DOCKER_HOST=unix:///run/docker.sock; unset DOCKER_CONTEXT
sysctl -qw net.ipv4.ip_forward=1
# Packaged UML kernels lack parts of nf_tables: where only the legacy tables work, say so to dockerd. (Listing alone
# succeeds without a table; making a chain does not.) Without any, Docker runs, but its DNS does not.
if ! { iptables -t nat -N uml-probe && iptables -t nat -X uml-probe; } >/dev/null 2>&1; then
    if iptables-legacy -t nat -nL >/dev/null 2>&1; then
        mkdir -p /usr/local/sbin
        for c in iptables ip6tables; do ln -sf "$(command -v $c-legacy)" /usr/local/sbin/$c; done
        export PATH=/usr/local/sbin:$PATH
    else
        log "no iptables in this kernel: names of containers will not resolve"; IPTABLES=false
    fi
fi
for m in veth bridge br_netfilter overlay ip_tables iptable_nat iptable_filter nf_nat xt_conntrack xt_addrtype \
         xt_MASQUERADE nf_conntrack_netlink sch_netem sch_htb sch_tbf; do modprobe -q $m 2>/dev/null; done
dockerd --data-root /run/dk/docker --exec-root /run/dockerx -p /run/dockerd.pid -H $DOCKER_HOST \
    --iptables=${IPTABLES:-true} --userland-proxy=false >/run/dockerd.log 2>&1 &
engine=$!
for _ in $(seq 300); do
    [ -S /run/docker.sock ] && docker info >/dev/null 2>&1 && break
    kill -0 $engine 2>/dev/null || break
    sleep 0.1
done
docker info >/dev/null 2>&1 || { tail -5 /run/dockerd.log | cut -c1-300 >&2; exit 1; }
"$@"; status=$?
kill $engine; wait $engine 2>/dev/null
exit $status
