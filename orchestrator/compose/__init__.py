"""docker-compose.yml, made of a topology: one service a node, one network a link, and the orchestrator."""
