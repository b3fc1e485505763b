"""The list of attacks and faults that the transport bears, each held to a cap on memory and on work."""
