"""All settings: one table of typed fields, read once from defaults, rqflow.cfg and RQFLOW__SECTION__KEY, then passed.

This is the only module that reads the environment or a configuration file. The sample conf/rqflow.cfg, the reference page and
`rqflow config list` are made from the same fields; tests hold them together.
"""

from __future__ import annotations

import configparser
import difflib
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from rqflow.exceptions import ConfigError
from rqflow.tunnel import Tunnel, parse_tunnel
from rqflow.values import Graces, Numbers, Processors, Size, Sizes, Zone, parse


def key(default: Any, text: str, *, secret: bool = False) -> Any:
    """Declare one setting: its default, its help text, and whether its value is a secret to be hidden."""
    return field(default=default, metadata={"help": text, "secret": secret})


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """Where things are, and how DAG files are loaded."""

    state_dir: str = key("", "Folder of the live state (embedded Redis, SQLite, sockets, folders of workers). Must be on a local disk. "
                             "Empty: HOME/state, or /var/tmp/rqflow-UID/… when HOME is on a network file system.")
    dags_folder: str = key("dags", "Folder of DAG files, relative to HOME. The leading scheduler takes over what is put there.")
    dags_are_paused_at_creation: bool = key(True, "A new DAG of that folder starts paused, unless it says is_paused_upon_creation itself.")
    reparse_interval: Graces = key(Graces(), "How long after its last load a file of that folder is executed again though nothing that it read has "
                                             "changed: `never`, or `never, remote=10m` for a sub-folder. For files that ask the network.")
    default_timezone: Zone = key(Zone("UTC"), "Zone that schedules and dates of DAG files are meant in where the file names none: UTC, Area/City, or "
                                              "system, the zone of the machine that loads the file.")
    default_queue: str = key("default", "Queue of tasks that name none; {user} stands for the account that loads the DAG.")
    load_timeout: timedelta = key(timedelta(seconds=10), "A DAG file that takes longer to load is refused.")
    load_memory: Size = key(Size(2 << 30), "Memory that loading a DAG file may take.")
    unsafe_templates: bool = key(False, "Let values given at the trigger be spliced raw into bash commands even with shell "
                                        "characters in them. Only for people who trust whoever starts runs.")


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisSettings:
    """The hub's Redis."""

    url: str = key("", "redis://, rediss://, unix:// or sentinel URL. Empty: rqflow runs a private Redis of its own.", secret=True)
    socket_timeout: timedelta = key(timedelta(seconds=10), "A call that takes longer counts as a broken link.")
    allow_open: bool = key(False, "Work with a Redis that other machines reach and that asks for no password: whoever reaches it decides what "
                                  "workers run. Only where something else keeps others out.")
    embedded_linger: timedelta = key(timedelta(seconds=10), "The private Redis ends this long after its last user.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """The history."""

    url: str = key("", "SQLAlchemy URL: mysql://, mariadb://, postgresql:// or sqlite:///. Empty: SQLite in the state folder.", secret=True)
    retention: timedelta = key(timedelta(0), "The hub removes runs that ended longer ago than this, with all that belongs to them but their "
                                             "logs. 0: it keeps everything; see `rqflow db clean`.")
    keep_last: int = key(50, "The newest runs of each DAG that are kept however old they are.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Broker:
    """The live state in Redis."""

    run_retention: timedelta = key(timedelta(minutes=5), "Redis keeps a finished run this long; its history stays in the database.")
    max_unrecorded: int = key(1_000_000, "Above this many events that no recorder has written to SQL, no task starts.")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """Workers, their tasks, and the times of their leases."""

    queues: str = key("default", "Queues that a worker serves, in this order, comma-separated; {user} stands for its account: user.{user}.")
    slots: int = key(4, "Tasks that one worker runs at the same time.")
    labels: str = key("", "What this machine has, as `name` or `name=value`, comma-separated; matched with worker_labels of tasks.")
    work_dir: str = key("", "Folder of a worker: tasks, logs, journal. Must be on a local disk. Empty: worker/ in the state folder.")
    on_stop: str = key("keep", "What SIGTERM does with running tasks: keep (they go on), drain (wait for them), kill.")
    heartbeat: timedelta = key(timedelta(seconds=10), "How often a worker tells that it lives.")
    lease: timedelta = key(timedelta(seconds=60), "A worker not heard of for this long is unreachable.")
    grace: Graces = key(Graces(), "How long a task may go on while its worker cannot be reached. `never`: no end. A duration: then it is killed, "
                                  "and given away. `never, gpu=2h` says it for single queues. A task's own grace comes first.")
    gap: timedelta = key(timedelta(seconds=5), "With a finite grace: how long before its end a task must be dead.")
    notice_after: timedelta = key(timedelta(minutes=10), "A task that cannot be reached for this long is told of once.")
    kill_grace: timedelta = key(timedelta(seconds=10), "Time between TERM and KILL.")
    shepherd_linger: timedelta = key(timedelta(seconds=10), "The shepherd, which holds the tasks, ends this long after its last task and worker.")
    callback_timeout: timedelta = key(timedelta(seconds=60), "Functions of a DAG file that are called when something has happened are ended then.")
    pipefail: bool = key(False, "Run bash tasks with `set -o pipefail` unless they say otherwise.")
    memory: Sizes = key(Sizes(), "Memory that a task may take that does not say so itself: `none`, `4G`, or `4G, gpu=64G` for single queues. What "
                                 "takes more is killed.")
    cpus: Processors = key(Processors(), "Processors that such a task may use, also parts of one: `none`, `2`, `1, gpu=0.5`.")
    nice: Numbers = key(Numbers(), "Niceness of such a task: `none` (that of the worker), or 0 (first) to 19 (last), also for single queues.")
    nofile: Numbers = key(Numbers(), "Files that each process of such a task may have open: `none` (as many as the worker), or a number, also for "
                                     "single queues.")
    run_as: str = key("worker", "Under which account tasks run: `worker`, that of the worker; `signer`, the one that security.signer_limits gives to "
                                "who signed the DAG, and nothing unsigned; or the name of one for all tasks. See docs/how-to/accounts.md.")
    accounts: str = key("", "Accounts that tasks may ask for with run_as_user whoever signed them, or nobody; comma-separated.")
    account_dir: str = key("/var/tmp",  # noqa: S108 - each account makes a private folder there, and checks that it is its own
                          "Folder on a local disk, in which everybody may write, for the private folders of tasks under other accounts.")
    log_retention: timedelta = key(timedelta(days=7), "A log that the hub's archive does not take is kept this long after its last line.")
    max_log_size: Size = key(Size(1 << 30), "Bytes of log kept of one try; head and tail are kept, with a mark in between.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheduler:
    """The process that holds the clock."""

    lock_ttl: timedelta = key(timedelta(seconds=10), "A leader not heard of for this long is replaced; one killed on the standby's machine, at once.")
    unserved_after: timedelta = key(timedelta(minutes=5), "Tasks that wait this long on a queue that no live worker serves are told of once.")
    folder_interval: timedelta = key(timedelta(seconds=10), "How often the leader looks whether files in core.dags_folder have changed. 0: never.")
    copy_interval: timedelta = key(timedelta(seconds=10), "How often a leader that reaches Redis or the database through a tunnel copies the newest "
                                                          "runs into its state folder, to be shown while that is down. 0: never.")
    catchup_by_default: bool = key(False, "Make up for past dates of DAGs that do not say `catchup` themselves, as Airflow 1 and 2 do.")
    backfill_ask_above: int = key(1000, "A backfill of more dates than this asks before it starts, or wants --yes.")
    idle_exit: timedelta = key(timedelta(seconds=60), "Processes that `rqflow submit` started end after this much idleness.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Logs:
    """Logs of tasks."""

    folder: str = key("", "Archive on the hub. Empty: logs/ in the state folder.")
    retention: timedelta = key(timedelta(days=90), "Archived logs are kept this long after they were written last. 0: for ever.")
    min_free: Size = key(Size(512 << 20), "With less than this free on the disk of the archive (or of SQLite) no log is written until there is "
                                          "room again; tasks go on, and their logs wait on the workers. 0: write until the disk is full.")
    stream_per_task: Size = key(Size(1 << 20), "Bytes of one task in Redis that the archive has not yet taken.")
    stream_per_worker: Size = key(Size(16 << 20), "The same for all tasks of one worker.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Security:
    """Secrets, and whose DAGs are run."""

    fernet_key: str = key("", "Key by which Variables and Connections are encrypted: the same on the hub and on each worker of another machine, "
                              "unless that has joined. Of several, separated by commas, the first encrypts, and all decrypt. Empty: fernet.key in "
                              "HOME, made when needed.",
                          secret=True)
    signing: bool = key(False, "`submit` and `run exec` sign DAGs with the SSH key of the person who calls them.")
    signing_key: str = key("", "File of that key; a .pub file stands for a private half in the agent. Empty: the agent's first, else the first of "
                               "~/.ssh/id_rsa, id_ecdsa, id_ecdsa_sk, id_ed25519, id_ed25519_sk.")
    allowed_signers: str = key("", "File as in ssh-keygen(1), ALLOWED SIGNERS. A worker that has it runs only DAGs that one of these has signed, in "
                                   "namespace rqflow-dag. Empty: whoever can write into its Redis can have it run anything.")
    revoked_keys: str = key("", "Keys that count no more: a list (KRL) of `ssh-keygen -k`, or a file of public keys.")
    signer_limits: str = key("", "File with a line a principal of allowed_signers: `alice@lab dags=align_*,qc queues=gpu user=alice run_as=tool`. "
                                 "Empty: each may have anything run.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Smtp:
    """The mail server, for notices of the hub and for tasks that send mail. Variables AIRFLOW__SMTP__KEY are read too."""

    smtp_host: str = key("", "Host of the mail server. Empty: no mail is sent, which `rqflow notice list` shows.")
    smtp_port: int = key(25, "Its port; often 587 with smtp_starttls, 465 with smtp_ssl.")
    smtp_starttls: bool = key(True, "Switch to TLS after connecting; a server that does not offer that gets nothing. Not with smtp_ssl.")
    smtp_ssl: bool = key(False, "Speak TLS from the first byte on.")
    smtp_ca_file: str = key("", "Certificates (PEM) to trust beside those of the system, for a server with a CA of its own.")
    smtp_user: str = key("", "Name to log in with. Empty: no login.")
    smtp_password: str = key("", "Password to log in with.", secret=True)
    smtp_mail_from: str = key("", "Sender. Empty: rqflow@HOST.")
    smtp_timeout: timedelta = key(timedelta(seconds=30), "A server that does not answer for this long counts as away.")
    smtp_retry_limit: int = key(5, "How often a task that sends mail tries to reach the server. Notices are tried until notices.give_up_after.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Notices:
    """Who is told what, by mail, webhook and chat."""

    base_url: str = key("", "Where people reach rqflow's web page, for the links in notices. Empty: notices name the command instead.")
    gather: timedelta = key(timedelta(seconds=10), "After a failure so long is waited for more of the same run, which go into one message.")
    gather_most: timedelta = key(timedelta(minutes=2), "The longest such wait.")
    cap: int = key(10, "Messages that a recipient gets of one DAG in cap_period; what follows comes in one digest each cap_period. 0: no cap.")
    cap_period: timedelta = key(timedelta(hours=1), "The time that cap is for.")
    log_lines: int = key(50, "So many last lines of its log are in the notice of a task.")
    recovery: bool = key(False, "Tell those who were told of a failed try when the task is a success after all.")
    tell_on: str = key("failure, sla, paused, unreachable", "What webhooks and chats are told: failure, retry, success, recovery, sla, paused, "
                                                            "unreachable. Mail is as the tasks say.")
    webhook_urls: str = key("", "URLs that get each notice as JSON, by POST; separated by spaces.", secret=True)
    webhook_timeout: timedelta = key(timedelta(seconds=10), "A webhook that does not answer for this long is tried again later.")
    apprise_urls: str = key("", "Chats (Slack, Teams, …) as URLs of apprise, separated by spaces; takes `pip install rqflow[apprise]`.", secret=True)
    retry_first: timedelta = key(timedelta(seconds=5), "The first wait after a message could not be sent; each further one is twice as long.")
    retry_longest: timedelta = key(timedelta(minutes=5), "The longest such wait.")
    give_up_after: timedelta = key(timedelta(days=3), "A message that could not be sent for so long is given up.")
    max_failed_runs: int = key(0, "A DAG is paused after so many failed runs in a row, unless it says max_consecutive_failed_dag_runs. 0: never.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tunnels:
    """SSH tunnels to and from other machines. Each further line of this section is one: `NAME = -L|-R [USER@]HOST[:PORT] redis[=ADDRESS]
    [database[=ADDRESS]] [port=N|listen=ADDRESS] [identity=FILE] [jump=HOST,...] [control[=PATH]] [family=inet] [option=KEY=VALUE]`, for example
    `hub = -L rqflow@hub redis database`; docs/how-to/tunnels.md tells what each word means. `redis.url = tunnel://hub` goes through it.
    """

    known_hosts: str = key("keys/known_hosts", "Keys of the hosts that are dialled, a file relative to HOME; a host that is not in it is refused.")
    ssh: str = key("ssh", "The program ssh (OpenSSH).")
    ssh_config: str = key("", "Configuration file of ssh. Empty: those that ssh reads by itself, such as ~/.ssh/config.")
    family: str = key("any", "Which addresses of a host are dialled: any, inet (IPv4 only), inet6.")
    connect_timeout: timedelta = key(timedelta(seconds=10), "A host that does not answer for this long counts as not reached.")
    server_alive: timedelta = key(timedelta(seconds=15), "After so much silence ssh asks the other side for a sign of life; whole seconds.")
    server_alive_count: int = key(3, "After so many questions without an answer the connection is given up.")
    probe_interval: timedelta = key(timedelta(seconds=10), "How often Redis and the database are asked through the tunnel.")
    probe_timeout: timedelta = key(timedelta(seconds=10), "A question that is not answered for this long has failed.")
    probe_count: int = key(2, "After so many questions in a row without an answer the connection is replaced.")
    retry_first: timedelta = key(timedelta(seconds=1), "The first wait after a connection was lost or not made; each further one is twice as long.")
    retry_longest: timedelta = key(timedelta(seconds=5), "The longest such wait while the host is not reached.")
    retry_refused: timedelta = key(timedelta(seconds=30), "The longest such wait when it is reached, and refuses something.")
    retry_denied: timedelta = key(timedelta(minutes=15), "The wait after it has refused our key three times, so that it bans nobody's address.")
    #: The tunnels by name: all lines of the section that are no key above.
    named: Mapping[str, Tunnel] = field(default_factory=dict)
    #: The same as they are written.
    lines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Webserver:
    """The web server: the page, the REST API, health and metrics."""

    host: str = key("127.0.0.1", "Address that it listens on. One that other machines reach is refused as long as there is no user.")
    port: int = key(8080, "Port that it listens on; when another program has it, the next one that is free.")
    trusted_proxies: str = key("", "Addresses, or networks, of proxies that are believed about where requests come from, comma-separated.")
    names: str = key("", "Host names, comma-separated, by which such a proxy hands requests on, besides that of notices.base_url. A server that "
                         "only its own machine reaches answers to no others.")
    user_header: str = key("", "Header in which such a proxy names the user whom it has let in, such as Remote-User. Empty: no proxy is asked.")
    proxy_role: str = key("", "Role of somebody new whom a proxy, or the provider below, names: viewer, operator or admin. Empty: only who was added "
                              "is let in.")
    oidc_issuer: str = key("", "URL of a provider of OpenID Connect by which people may log in; takes `pip install rqflow[oidc]`. Empty: by password "
                               "alone.")
    oidc_name: str = key("single sign-on", "What it is called on the login page.")
    oidc_client_id: str = key("", "Id under which it knows this server, with BASE/oidc/back as the address to come back to.")
    oidc_client_secret: str = key("", "Secret that goes with it; empty: it asks for none.", secret=True)
    oidc_scope: str = key("openid profile email", "What it is asked for.")
    oidc_user_claim: str = key("preferred_username", "Claim that is the user name.")
    tls_cert: str = key("", "Certificate (PEM), for https without a proxy.")
    tls_key: str = key("", "Its key (PEM).")
    session_lifetime: timedelta = key(timedelta(days=14), "A browser that has sent no request for so long has to log in again.")
    filter_by_owner: bool = key(False, "Who is no administrator sees only DAGs that are theirs: submitted by them, shared with them, or of an owner "
                                       "that `rqflow user owner` says they are.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """What is told to Prometheus."""

    task_label: bool = key(False, "Tell durations, ends and memory of each task apart, not only of each DAG: as many series as there are tasks.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All settings of this process, read once and passed on. `home` is RQFLOW_HOME; `file` the configuration file, if one was read."""

    home: Path
    file: Path | None = None
    core: Core = field(default_factory=Core)
    redis: RedisSettings = field(default_factory=RedisSettings)
    database: Database = field(default_factory=Database)
    broker: Broker = field(default_factory=Broker)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    scheduler: Scheduler = field(default_factory=Scheduler)
    logs: Logs = field(default_factory=Logs)
    security: Security = field(default_factory=Security)
    smtp: Smtp = field(default_factory=Smtp)
    notices: Notices = field(default_factory=Notices)
    tunnels: Tunnels = field(default_factory=Tunnels)
    webserver: Webserver = field(default_factory=Webserver)
    metrics: Metrics = field(default_factory=Metrics)
    #: Where each value that is no default comes from: {"worker.slots": "RQFLOW__WORKER__SLOTS"}.
    origins: Mapping[str, str] = field(default_factory=dict)


SECTIONS: dict[str, type] = {
    "core": Core, "redis": RedisSettings, "database": Database, "broker": Broker,
    "worker": WorkerSettings, "scheduler": Scheduler, "logs": Logs, "security": Security, "smtp": Smtp, "notices": Notices, "tunnels": Tunnels,
    "webserver": Webserver, "metrics": Metrics,
}
#: The section whose lines have names of their own.
_NAMED = "tunnels"
#: What stands for the name of this process' account, and settings in which it does.
USER, _OF_USERS = "{user}", frozenset({"core.default_queue", "worker.queues"})
#: Sections that are read from variables of Airflow too.
_SHARED = ("smtp",)


@cache
def keys() -> tuple[tuple[str, Field[Any], Any], ...]:
    """Return (section, dataclass field, type) of every setting, in the order of the sample file."""
    hints = {name: get_type_hints(cls) for name, cls in SECTIONS.items()}
    return tuple((name, f, hints[name][f.name]) for name, cls in SECTIONS.items() for f in fields(cls) if "help" in f.metadata)


def _account() -> str:
    """Return the name of this process' account, or its number in a container that has no name for it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def without_password(url: str) -> str:
    """Return `url` with *** for its password, whatever characters that has."""
    return re.sub(r"^([\w+.-]+://[^:@/]*):.*@", r"\1:***@", url, flags=re.DOTALL)


def default_home(environ: Mapping[str, str]) -> Path:
    """Return RQFLOW_HOME, or ~/rqflow."""
    return Path(environ.get("RQFLOW_HOME") or "~/rqflow").expanduser().absolute()


def load(*, home: Path | None = None, file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings: defaults, then `file` (HOME/rqflow.cfg when None), then RQFLOW__SECTION__KEY of `environ`.

    Raises ConfigError naming the place for an unreadable file, an unknown key (with the nearest one) or a bad value.
    """
    environ = os.environ if environ is None else environ
    home = (home or default_home(environ)).expanduser().absolute()
    named = file or (Path(environ["RQFLOW_CONFIG"]) if environ.get("RQFLOW_CONFIG") else None)
    source = named or home / "rqflow.cfg"
    raw = {**_from_file(source, required=named is not None), **_from_environ(environ)}
    kinds = {f"{section}.{f.name}": kind for section, f, kind in keys()}
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for name, (text, origin) in raw.items():
        section, _, option = name.partition(".")
        near = difflib.get_close_matches(name, kinds, n=1) if name not in kinds else []
        hint = f"Did you mean {near[0]}?" if near else ""
        if name not in kinds and section != _NAMED:
            raise ConfigError(f"{origin}: there is no setting {name}", hint=hint)
        try:
            if name in kinds:
                values[section][option] = parse(text.replace(USER, _account()) if name in _OF_USERS and USER in text else text, kinds[name])
            else:
                values[section].setdefault("named", {})[option] = parse_tunnel(option, text)
                values[section].setdefault("lines", {})[option] = text
        except ValueError as error:
            raise ConfigError(f"{origin}: {name}: {error}", hint=hint) from error
    built = {name: cls(**values[name]) for name, cls in SECTIONS.items()}
    origins = {name: origin for name, (_, origin) in raw.items()}
    return Settings(home=home, file=source if source.is_file() else None, origins=origins, **built)


def given(name: str, *, environ: Mapping[str, str] | None = None) -> str | None:
    """Return what RQFLOW_`name`, else AIRFLOW_`name`, holds; None when neither is set.

    This is how people give Variables (VAR_X), Connections (CONN_X) and Airflow's own settings (_SECTION__KEY) to DAG files.
    """
    environ = os.environ if environ is None else environ
    return environ.get(f"RQFLOW_{name}", environ.get(f"AIRFLOW_{name}"))


def server_token(*, environ: Mapping[str, str] | None = None) -> str:
    """Return the token with which a server is asked (RQFLOW_TOKEN); empty when there is none."""
    return (os.environ if environ is None else environ).get("RQFLOW_TOKEN", "").strip()


def environment() -> dict[str, str]:
    """Return the whole environment of this process, for processes that are started from it."""
    return dict(os.environ)


def _from_file(path: Path, *, required: bool) -> dict[str, tuple[str, str]]:
    """Return {"section.key": (text, "file")} of the configuration file; an absent one is empty unless `required`."""
    if not path.exists() and not required:
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with path.open(encoding="utf-8") as stream:
            parser.read_file(stream)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return {f"{section}.{option}": (text, str(path)) for section in parser.sections() for option, text in parser.items(section)}


def _from_environ(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return {"section.key": (text, variable)} of the variables RQFLOW__SECTION__KEY; …_FILE names a file with the value.

    What Airflow calls the same is taken from AIRFLOW__SECTION__KEY where that alone is given.
    """
    known = {f"{section}.{f.name}" for section, f, _ in keys()}
    found: dict[str, tuple[str, str]] = {}
    for name in known:
        variable = f"AIRFLOW__{name.replace('.', '__').upper()}"
        if name.startswith(tuple(f"{section}." for section in _SHARED)) and variable in environ:
            found[name] = (environ[variable], variable)
    for variable, text in environ.items():
        if not variable.startswith("RQFLOW__"):
            continue
        name = variable.removeprefix("RQFLOW__").lower().replace("__", ".", 1)
        if name not in known and name.endswith("_file") and name.removesuffix("_file") in known:
            try:
                text, name = Path(text).read_text(encoding="utf-8").strip(), name.removesuffix("_file")
            except OSError as error:
                raise ConfigError(f"{variable}: {error}") from error
        found[name] = (text, variable)
    return found
