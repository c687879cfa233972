"""The `nader` command: one file a command; what several of them share lies beside them."""

from nader.cli.app import main

__all__ = ["main"]
