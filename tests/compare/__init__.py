"""What settings of the transport do to a transfer over standard links: ``python -m tests.compare``."""
