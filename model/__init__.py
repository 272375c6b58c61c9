"""DPDF-LQ: tensors in, a sentiment score and its gates out. Knows neither media nor HTTP."""
