"""Queues of a bottleneck that decide when a packet is served, not when it comes: AQM, bytes, marks."""
