"""airflow.configuration and what DAG files take of airflow.settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rqflow import settings
from rqflow.dag import zones
from rqflow.dag.airflow.exceptions import AirflowConfigException
from rqflow.dag.outside_views import ConfView


class Conf(ConfView):
    """Airflow's `conf` for Python code: a setting that is not there raises AirflowConfigException."""

    def get(self, section: str, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return a setting as text."""
        try:
            return super().get(section, key, *args, **kwargs)
        except KeyError as error:
            raise AirflowConfigException(error.args[0]) from None


conf = Conf()
get, getboolean, getint, getfloat, has_option = conf.get, conf.getboolean, conf.getint, conf.getfloat, conf.has_option


def get_airflow_home() -> str:
    """Return AIRFLOW_HOME, else RQFLOW_HOME, else ~/rqflow."""
    return settings.given("HOME") or str(Path("~/rqflow").expanduser())


AIRFLOW_HOME = get_airflow_home()
DAGS_FOLDER = str(Path(AIRFLOW_HOME, conf.get("core", "dags_folder")))
TIMEZONE = zones.assumed()
