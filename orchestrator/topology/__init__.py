"""Topology files: YAML to frozen dataclasses to a deployment plan. Pure but for reading the file."""
