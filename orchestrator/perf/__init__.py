"""Strait between any two machines: a server, the tests of ``narrows perf`` and of ``narrows ping``."""
