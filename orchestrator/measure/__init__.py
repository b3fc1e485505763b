"""Measures what links do to packets, without any code of what configured them."""
