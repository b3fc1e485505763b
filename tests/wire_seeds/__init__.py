"""Right nodes over all kinds of networks, with every frame judged: no one of them may be accused."""
