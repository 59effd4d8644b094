"""What a person did in the live state alone, told to the recorder: so it comes into the audit log from where only Redis is reached, and after
a database that was away, too.
"""

from __future__ import annotations

import secrets
from typing import Any

from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.clock import to_micros
from rqflow.wire import encode

#: Of such an event, by which a recorder knows it.
KIND = "deed"


def note(broker: Broker, event: str, *, by: str, **given: Any) -> None:
    """Tell that a person did `event`, such as worker_paused, and what was `given` for it. Raises BrokerError."""
    # The id and the time are made once, so that a note that is sent twice is one deed.
    told = {"kind": KIND, "id": secrets.token_hex(8), "seq": to_micros(broker.now()), "state": event, "who": by, "given": given}
    broker.steps.command("XADD", keys.EVENTS, "*", "e", encode([told]).decode())
