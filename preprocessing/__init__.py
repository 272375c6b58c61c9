"""A clip and its transcript in, numbers out. Knows neither HTTP nor network layers."""
