"""Connections of other transports, under the face that flows know (node.carrier)."""
