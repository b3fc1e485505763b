"""What tc is told and what it tells: argument lists and read-back, both pure."""
