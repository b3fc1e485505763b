"""One process that has imported everything, and forks into the nodes of a lab: agents, shapers, captures.

A Python process that imports an agent takes 0.2 s of CPU; a fork of one that has takes a few milliseconds,
and shares its memory. Nothing but imports happens before a fork: no socket, no key, no chance, no thread
(SPEC 3-8), so what is forked differs from what was started in nothing but its age.
"""
