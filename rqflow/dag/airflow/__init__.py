"""The airflow shim: lets a file that imports airflow load where no airflow is installed.

`finder` answers every import of `airflow…`; `names` is the table of what rqflow has; `standin` stands in for everything else.
"""

from __future__ import annotations
