"""Tasks that send mail, from the file to the mail server."""

from __future__ import annotations

from rqflow.dag.loader import load
from tests.integration.worker.conftest import Site
from tests.mailserver import mail_server

DAG = '''
from airflow import DAG
from airflow.operators.email import EmailOperator
from airflow.operators.python import PythonOperator
from airflow.utils.email import send_email

def tell(ds):
    send_email(["ada@x.test"], "Größe of " + ds, "<p>ä</p>")

with DAG("d") as dag:
    EmailOperator(task_id="mail", to="ada@x.test; bob@x.test", cc=["carol@x.test"], subject="of {{ ds }}", html_content="letter.html", files=["/etc/hostname"])
    PythonOperator(task_id="call", python_callable=tell)
    EmailOperator(task_id="refused", to="gone@x.test", subject="x", html_content="y")
'''


def test_operator_and_send_email_use_the_settings_of_their_worker(site: Site) -> None:
    folder = site.folder / "dags"
    folder.mkdir()
    (folder / "letter.html").write_text("<b>{{ run_id }}</b>")
    (folder / "d.py").write_text(DAG)
    [version] = load(folder / "d.py", site.settings).versions
    run = site.run(version)
    with mail_server(site.folder) as server:
        server.refused["gone@x.test"] = "550 no such person"
        site.environ |= server.environ()
        site.work()
    assert site.states(run) == {"mail": "success", "call": "success", "refused": "failed"}, site.log(run, "mail")
    found = {mail.message["Subject"]: mail for mail in server.mails}
    letter = found["of 2024-01-01"]
    assert letter.recipients == ["ada@x.test", "bob@x.test", "carol@x.test"]
    assert letter.html.strip() == "<b>r1</b>"
    assert [part.get_filename() for part in letter.message.iter_attachments()] == ["hostname"]
    assert found["Größe of 2024-01-01"].html.strip() == "<p>ä</p>"
    assert "the mail was not sent: the mail server" in site.task(run, "refused").reason
    assert "550 no such person" in site.task(run, "refused").reason
