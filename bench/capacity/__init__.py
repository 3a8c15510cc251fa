"""What a deployment can carry: formulas, their measured constants, and a simulation to hold them against."""
