"""The control interface of a node: messages, their lines of JSON, and a client."""
