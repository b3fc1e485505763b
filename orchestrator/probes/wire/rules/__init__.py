"""Rules of conduct that the wire probe checks at each end of each connection, one file each."""
