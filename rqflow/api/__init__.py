"""What can be asked of a hub, once for all: operations, which the page, the REST API and the command line carry out alike."""
