"""The fidelity battery: how far a population's users are like real ones, before any policy is ranked by them."""
