"""SSH tunnels: the command of ssh, what its failures mean, and what keeps it up and asks through it."""
