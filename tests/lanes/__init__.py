"""Lanes: which tests need what of a machine, how to get it, and an honest table of what ran."""
