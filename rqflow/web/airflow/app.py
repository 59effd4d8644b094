"""The routes of Airflow's API."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from rqflow.web.airflow import clearing, connections, dags, hub, instances, logs, pools, runs, variables, xcoms
from rqflow.web.airflow.asking import Answer, texts_only
from rqflow.web.airflow.errors import PREFIX

#: In the order in which paths are looked up.
ROOMS = (dags, runs, instances, clearing, logs, xcoms, pools, variables, connections, hub)
router = APIRouter(prefix=PREFIX, default_response_class=Answer, dependencies=[Depends(texts_only)], include_in_schema=False)
for _room in ROOMS:
    router.include_router(_room.router)
