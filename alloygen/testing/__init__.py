"""Solvable systems and contract checkers, for the tests of alloygen and of whatever extends it."""
