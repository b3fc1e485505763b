"""The Narrows node: the Strait transport, the workloads and the agent that runs them."""

__version__ = "0.1.0"
