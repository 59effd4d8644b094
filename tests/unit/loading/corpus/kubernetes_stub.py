"""Stands for a third-party module that is installed."""


class models:
    class Resources:
        pass
