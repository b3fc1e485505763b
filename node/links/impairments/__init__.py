"""One file an impairment; `base` holds the interface, the stages and what they mean together."""
