"""What one page, or one answer of the API, shows: read in a few questions whose number does not grow with what is shown.

Unfinished runs are read from Redis, and those of which the history does not have all yet; finished ones from SQL. Where `broker` may be None
(Redis is away) the history tells what it knows.
"""

from __future__ import annotations
