"""Training and evaluation of DPDF-LQ: datasets, metrics, the one training loop."""
