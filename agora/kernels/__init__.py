"""Hot arithmetic under Numba: arrays in, arrays out, no types of ours. Import the module of the kernel you need."""
