"""Files that a page gives to be kept."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Response


def json_file(name: str, plain: Any) -> Response:
    """Return an answer that browsers keep as the file `name`: JSON for people to read."""
    text = json.dumps(plain, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    return Response(text.encode("utf-8", "replace"), media_type="application/json; charset=utf-8",
                    headers={"Content-Disposition": f'attachment; filename="{name}"'})
