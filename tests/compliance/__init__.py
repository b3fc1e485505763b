"""Each numbered requirement of the specification, and the code and the tests that cite it."""
