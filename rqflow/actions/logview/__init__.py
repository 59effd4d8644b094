"""A log as people look at it: in blocks of lines, searched, and as it grows, without ever having all of it in memory."""
