"""Hot arithmetic under Numba: arrays in, arrays out, no types of ours. Import the module you need."""
