"""Captures: pcapng files, and the process that records the interfaces of a network namespace."""
