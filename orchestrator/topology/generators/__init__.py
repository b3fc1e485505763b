"""Generators of topologies: one file a shape, found by the registry."""
