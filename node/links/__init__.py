"""What a link does to packets: impairments as data, and the pure model that applies them."""
