"""The domain: block graphs, networks, training, language models and literature, with the campaign that joins them."""

__version__ = "0.1.0"
