"""The web server: for the page and its API, which come, and for those that ask whether rqflow lives and what it does."""
