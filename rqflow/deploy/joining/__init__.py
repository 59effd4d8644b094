"""Machines that join this hub: rqflow itself for them, their keys, and what each side writes down."""
