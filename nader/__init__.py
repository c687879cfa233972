"""Block graphs, networks, training, language models and literature, and the campaign that joins them."""

__version__ = "0.1.0"
