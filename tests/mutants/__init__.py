"""Nodes that are wrong on purpose, one file each: the wire probe catches every one, every time."""
