"""A process for the fork server to fork, in tests."""
