"""Second implementations of the wire format, written by hand from SPEC.md on purpose."""
