"""Clips to scores on the command line, without a server: ``python -m score``."""
