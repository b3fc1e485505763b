"""Namespaces, links, shapers and captures: what the namespace and Docker back ends are wired with."""
