"""The Narrows orchestrator: topologies in, experiments out."""
