"""Containers on this machine's engine: the image they are made from, and the nodes of a lab that they are."""
