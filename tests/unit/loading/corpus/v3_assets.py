from airflow.sdk import Asset, Metadata, asset, dag, task, task_group

orders = Asset("s3://bucket/orders")


@dag(schedule=[orders])
def v3_assets():
    @task(outlets=[orders])
    def make(*, outlet_events):
        yield Metadata(orders, {"rows": 1})

    @task.bash(task_id="shell")
    def shell() -> str:
        return "echo 1"

    @task.short_circuit()
    def gate():
        return True

    @task.sensor(poke_interval=60, mode="reschedule")
    def wait():
        return True

    gate() >> [make(), shell()] >> wait()


v3_assets()
