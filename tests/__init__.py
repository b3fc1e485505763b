"""Tests of Narrows; `make test` runs them lane by lane (tests/lanes)."""
