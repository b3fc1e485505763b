"""Probes: checks from outside, by programs that share no code with what they check.

One file each; ``wire`` reads the captures of a run, the others act on a lab that is up.
"""
