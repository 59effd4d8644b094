"""What may be wrong with an installation, one line a check with what to do about it. Looks only: nothing is started or changed."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import redis

from rqflow import clock, mail
from rqflow.actions.verdict import Verdict
from rqflow.broker import connection as broker_connection
from rqflow.broker import exposure, keys, protocol, unserved
from rqflow.broker.broker import Broker
from rqflow.broker.logstream import LogStream
from rqflow.broker.replies import text
from rqflow.broker.status import WorkerStatus
from rqflow.deploy import embedded, health, live, statedir
from rqflow.deploy.checks import keys as key_checks
from rqflow.deploy.checks import people, trust, work
from rqflow.deploy.checks.finding import Finding
from rqflow.deploy.checks.work import CLOCK_OFF
from rqflow.deploy.health import DB, SCHEDULER, WORKER
from rqflow.deploy.tunnels import checks as tunnels
from rqflow.exceptions import RqflowError
from rqflow.recorder.room import Room
from rqflow.settings import Settings
from rqflow.settings import keys as all_settings
from rqflow.store import dag_files, figures
from rqflow.store.engine import open_engine, reading

#: With less than that Redis keeps each task in a form that takes a third more.
LISTPACK = 512


def examine(settings: Settings, *, asks_mail: bool = True) -> list[Finding]:
    """Do all checks that can be done, those of the live state only when Redis answers, that of the mail server, which may take long, if asked to."""
    found = [_config(settings), key_checks.modes(settings), _state(settings), _disks(settings), *_tunnels(settings), *_database(settings),
             *_trust(settings)]
    try:
        with live.peek(settings) as connection:
            found += _redis(connection, settings) if connection is not None else [_no_redis(settings)]
    except (redis.exceptions.RedisError, RqflowError) as error:
        found.append(Finding(check="redis", verdict=Verdict.PROBLEM, detail=str(error), remedy=getattr(error, "hint", "")))
    return [*found, *([_mail(settings)] if asks_mail else [])]


def is_well(found: Iterable[Finding]) -> bool:
    """Tell whether there is no problem among findings; warnings are none."""
    return all(one.verdict is not Verdict.PROBLEM for one in found)


def _ok(check: str, detail: str) -> Finding:
    return Finding(check=check, verdict=Verdict.OK, detail=detail)


def _config(settings: Settings) -> Finding:
    """See whether others may read the secrets of rqflow.cfg; what stands there was read already, and is known."""
    file = settings.file
    if file is None:
        return _ok("config", "no rqflow.cfg: all settings are the defaults, or come from the environment")
    secret = [f"{section}.{field.name}" for section, field, _ in all_settings()
              if field.metadata.get("secret") and settings.origins.get(f"{section}.{field.name}") == str(file)]
    if secret and stat.S_IMODE(file.stat().st_mode) & 0o077:
        return Finding(check="config", verdict=Verdict.PROBLEM, detail=f"{file} holds {', '.join(secret)}, and others may read it",
                       remedy=f"chmod 600 {file}")
    return _ok("config", f"{file} can be read and understood")


def _state(settings: Settings) -> Finding:
    try:
        state = statedir.locate(settings, statedir.this_machine())
    except RqflowError as error:
        return Finding(check="state folder", verdict=Verdict.PROBLEM, detail=error.message, remedy=error.hint)
    return _ok("state folder", f"{state} is on a local disk")


def _disks(settings: Settings) -> Finding:
    machine = statedir.this_machine()
    try:
        state = statedir.locate(settings, machine)
    except RqflowError:
        state = settings.home
    folders = [settings.home, state, Path(live.resolved(settings, state, machine).logs.folder)]
    if shortage := Room(folders, settings.logs.min_free).shortage():
        return Finding(check="disk", verdict=Verdict.PROBLEM, detail=shortage, remedy="rqflow db clean --logs --older-than 30d, or a larger disk.")
    return _ok("disk", "home, state and logs have room")


def _tunnels(settings: Settings) -> Iterator[Finding]:
    for seen in tunnels.look(settings):
        yield Finding(check=seen.check, verdict=Verdict.OK if seen.is_well else Verdict.PROBLEM, detail=seen.detail, remedy=seen.remedy)


def _trust(settings: Settings) -> Iterator[Finding]:
    for seen in trust.look(settings):
        verdict = Verdict.PROBLEM if seen.is_wrong else Verdict.WARNING if seen.remedy else Verdict.OK
        yield Finding(check=seen.check, verdict=verdict, detail=seen.detail, remedy=seen.remedy)


def _database(settings: Settings) -> Iterator[Finding]:
    (seen,) = health.look(settings, [DB])
    if not seen.is_healthy:
        is_new = "not there yet" in seen.detail
        detail, _, hint = seen.detail.partition("\n")
        remedy = "The first submit, or `rqflow db upgrade`, makes it." if is_new else hint or "Is it running, and does database.url name it?"
        yield Finding(check="database", verdict=Verdict.WARNING if is_new else Verdict.PROBLEM, detail=detail, remedy=remedy)
        return
    yield _ok("database", seen.detail)
    machine = statedir.this_machine()
    url = live.resolved(settings, statedir.locate(settings, machine), machine).database.url
    yield people.administrators(settings, url)
    engine = open_engine(url)
    try:
        with reading(engine) as connection:
            broken = dag_files.broken(connection)
            yield key_checks.secrets(settings, connection)
            yield people.page(settings, connection)
    finally:
        engine.dispose()
    if broken:
        first = broken[0]
        yield Finding(check="DAG files", verdict=Verdict.PROBLEM, detail=f"{len(broken)} cannot be loaded, such as {first.path}: {first.errors[0]}",
                      remedy="rqflow dag list --errors")
    else:
        yield _ok("DAG files", "all of the folder can be loaded")


def _no_redis(settings: Settings) -> Finding:
    if settings.redis.url:
        return Finding(check="redis", verdict=Verdict.PROBLEM, detail="it does not answer", remedy="Is it running, and does redis.url name it?")
    return Finding(check="redis", verdict=Verdict.WARNING, detail="the private one does not run, for nobody uses it",
                   remedy="rqflow up keeps it running; submit starts it by itself.")


def _redis(connection: redis.Redis, settings: Settings) -> list[Finding]:
    """Check what Redis is, and what it tells of the system."""
    broker = Broker(connection, settings)
    return [_server(connection), _exposure(connection, settings), *_memory(connection), _clock(broker), _stranger(connection), _scheduler(settings),
            *_workers(broker, settings), _unreachable(connection), _waiting(connection), _archive(connection), _releases(connection)]


def _server(connection: redis.Redis) -> Finding:
    try:
        broker_connection.check_server(connection)
    except RqflowError as error:
        return Finding(check="redis", verdict=Verdict.PROBLEM, detail=error.message, remedy=error.hint)
    info = connection.info()
    if not info.get("aof_enabled"):
        return Finding(check="redis", verdict=Verdict.WARNING, detail="it does not keep what it holds at once: its end loses seconds, or all",
                       remedy="`appendonly yes` in redis.conf. Nothing is lost for good: runs are put right from the history.")
    return _ok("redis", f"version {info.get('redis_version')}, append-only, evicts nothing")


def _exposure(connection: redis.Redis, settings: Settings) -> Finding:
    """See whether everybody of a network may write to Redis."""
    machine = statedir.this_machine()
    url = live.resolved(settings, statedir.locate(settings, machine), machine).redis.url if settings.redis.url else ""
    why = exposure.why_open(connection, url) if url else ""
    if url and not why and exposure.is_of_network(url) and not exposure.has_login(url):
        why = "it can be reached from other machines, and asks for no password"
    if why:
        verdict = Verdict.WARNING if settings.redis.allow_open else Verdict.PROBLEM
        return Finding(check="redis access", verdict=verdict, detail=f"{why}: whoever reaches it decides what workers run",
                       remedy="requirepass or a user of its own, see docs/how-to/security-redis.md")
    if not url:
        port = embedded.opened(settings)
        more = f", and for workers that joined on 127.0.0.1:{port.port}, which takes a password" if port else ""
        return _ok("redis access", f"the private one, on a socket for its owner alone{more}")
    return _ok("redis access", "nobody of the network comes in without a password")


def _memory(connection: redis.Redis) -> Iterator[Finding]:
    try:
        found = connection.config_get("hash-max-*-value")
    except redis.exceptions.ResponseError:  # a provider that lets nobody ask
        return
    values = [int(value) for value in found.values() if value]
    if values and max(values) < LISTPACK:
        yield Finding(check="redis memory", verdict=Verdict.WARNING, detail=f"hash-max-listpack-value is {max(values)}: a task takes a third more",
                      remedy=f"`hash-max-listpack-value {LISTPACK}` in redis.conf")


def _clock(broker: Broker) -> Finding:
    before = clock.utcnow()
    theirs = broker.now()
    off = theirs - (before + (clock.utcnow() - before) / 2)
    if abs(off) > CLOCK_OFF:
        where = "behind" if off > timedelta(0) else "before"
        return Finding(check="clock", verdict=Verdict.WARNING, remedy="Set up NTP, such as chrony, on both machines.",
                       detail=f"it is {abs(off.total_seconds()):.1f} s {where} that of Redis; leases and order go by that one, texts in logs do not")
    return _ok("clock", f"{abs(off.total_seconds()):.2f} s off that of Redis")


def _stranger(connection: redis.Redis) -> Finding:
    """Look for a stock rqscheduler, which would move delayed work into queues that no step of ours knows."""
    ours = {text(key) for key in connection.smembers(keys.SCHEDULERS)}
    others = sorted({text(key) for key in connection.scan_iter(match=f"{keys.RQ_SCHEDULER_INSTANCE}*", count=1000)} - ours)
    if others:
        return Finding(check="rqscheduler", verdict=Verdict.PROBLEM, detail=f"{len(others)} stock rqscheduler on this Redis: {others[0]}",
                       remedy="End it, or give it a Redis, or a key prefix (RQ_KEY_PREFIX), of its own.")
    return _ok("rqscheduler", "no stock one on this Redis")


def _scheduler(settings: Settings) -> Finding:
    (seen,) = health.look(settings, [SCHEDULER])
    if seen.is_healthy:
        return _ok("scheduler", seen.detail)
    return Finding(check="scheduler", verdict=Verdict.WARNING, detail=f"{seen.detail}: nothing starts by schedule, no retry comes back",
                   remedy="rqflow up, or rqflow scheduler")


def _workers(broker: Broker, settings: Settings) -> Iterator[Finding]:
    (seen,) = health.look(settings, [WORKER])
    if seen.is_healthy:
        yield _ok("workers", seen.detail)
    else:
        yield Finding(check="workers", verdict=Verdict.WARNING, detail=f"{seen.detail}: no task runs", remedy="rqflow up, or rqflow worker")
    workers = broker.workers()
    yield from work.queues(broker, workers)
    yield from work.machines(workers, settings.logs.min_free)
    yield from _stuck(broker, settings, workers)


def _stuck(broker: Broker, settings: Settings, workers: Sequence[WorkerStatus]) -> Iterator[Finding]:
    """Ask the history for tasks that have waited for long; a database that is away is told of by another check."""
    opened = health.Database(settings)
    try:
        with reading(opened.engine()) as connection:
            yield work.stuck(figures.stand(connection).oldest, broker.now(), workers)
    except RqflowError:
        return
    finally:
        opened.close()


def _unreachable(connection: redis.Redis) -> Finding:
    count = int(connection.zcard(keys.UNREACHABLE))
    if count:
        return Finding(check="unreachable tasks", verdict=Verdict.WARNING,
                       detail=f"{count} task{'s' if count > 1 else ''} on machines that are not heard of; they count as running",
                       remedy="Bring the machine back; when it is gone for good: rqflow task mark-lost RUN TASK")
    return _ok("unreachable tasks", "none")


def _waiting(connection: redis.Redis) -> Finding:
    found = [str(one) for one in unserved.standing(connection)]
    if found:
        return Finding(check="unserved queues", verdict=Verdict.PROBLEM, detail="; ".join(found), remedy="rqflow worker -Q QUEUE")
    return _ok("unserved queues", "no task waits for a worker that there is not")


def _archive(connection: redis.Redis) -> Finding:
    held = LogStream(connection).held()
    if held:
        return Finding(check="log archive", verdict=Verdict.PROBLEM, detail=f"takes no logs since {held.since:%Y-%m-%d %H:%M:%S} UTC: {held.reason}",
                       remedy="Make room on the hub's disk; the logs wait on the workers.")
    return _ok("log archive", "takes logs")


def _releases(connection: redis.Redis) -> Finding:
    found = sorted({process.version for process in protocol.processes(connection)})
    if len(found) > 1:
        return Finding(check="releases", verdict=Verdict.WARNING, detail=f"processes of several releases live: {', '.join(found)}",
                       remedy="rqflow info names them; restart those that are old.")
    return _ok("releases", found[0] if found else "no process lives")


def _mail(settings: Settings) -> Finding:
    if not settings.smtp.smtp_host:
        return _ok("mail", "no smtp_host: nobody is told by mail")
    try:
        mail.probe(settings.smtp)
    except mail.MailError as error:
        return Finding(check="mail", verdict=Verdict.PROBLEM, detail=error.message, remedy=error.hint or "rqflow notice test ADDRESS says more.")
    return _ok("mail", f"{settings.smtp.smtp_host} lets us in")
