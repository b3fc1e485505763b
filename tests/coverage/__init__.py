"""How much of the transport the tests run, statements and branches, held to a number that only rises."""
