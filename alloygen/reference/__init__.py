"""Classical references: exact sums, transfer matrices, Monte Carlo and replica exchange."""
