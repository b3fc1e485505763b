"""Fuzz targets for everything that reads bytes of others, and a small corpus that is always run."""
