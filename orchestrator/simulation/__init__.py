"""A whole network on virtual time: the link model of the real shaper, and the node of the real agent.

Nothing in here reads a clock or draws chance of its own: every direction of a link and every node has a
generator seeded by text, and events at one instant happen in the order in which they were scheduled.
"""
