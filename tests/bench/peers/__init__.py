"""One module a peer: `python -m tests.bench.peers.NAME server|client …`, each prints one JSON line."""
