"""All I/O of a node: the UDP socket, the control interface, files, signals."""
