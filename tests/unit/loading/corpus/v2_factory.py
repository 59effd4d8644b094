"""DAGs made in a loop by a local module from a data file beside this one: airflow is only imported there."""
import json
import os

from lib.factory import make_dag

with open(os.path.join(os.path.dirname(__file__), "lib", "samples.json")) as stream:
    samples = json.load(stream)

for name, steps in samples.items():
    globals()[f"v2_factory_{name}"] = make_dag(f"v2_factory_{name}", steps)
