"""The command line ``alloygen``; :data:`app` is its entry point."""

from alloygen.cli.application import app

__all__ = ["app"]
