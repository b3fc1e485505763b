"""Runs that one number decides: settings, network and what both ends do. Walked by the thousand."""
