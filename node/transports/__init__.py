"""Other transports than Strait, to compare it with: the same workloads over kernel TCP and over QUIC."""
