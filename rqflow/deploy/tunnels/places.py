"""Where the ends of tunnels are: their folders here, and what `tunnel://NAME` in redis.url and database.url stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from rqflow.deploy import embedded, statedir
from rqflow.exceptions import ConfigError
from rqflow.settings import Settings
from rqflow.tunnel import DATABASE, REDIS, Address, Direction, Forward, Tunnel, parse_address

#: How redis.url and database.url say that they go through a tunnel.
SCHEME, SUFFIX = "tunnel", "+tunnel"
#: Where services listen when nobody says otherwise; the name under which PostgreSQL's clients look for a socket.
_PORTS = {REDIS: 6379, "mysql": 3306, "mariadb": 3306, "postgresql": 5432, "postgres": 5432}
POSTGRES_SOCKET = ".s.PGSQL.5432"
#: Below the home of an account that is dialled: where tunnels with -R end, each in a folder of its name.
LANDING = (".rqflow", "tunnels")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The folders of one tunnel on this machine, each for its owner alone."""

    #: Its status and its lock.
    folder: Path
    #: Its sockets: the same folder, unless its path is too long for them.
    sockets: Path

    @property
    def status(self) -> Path:
        """The file in which its keeper says how it is."""
        return self.folder / "status.json"

    @property
    def lock(self) -> Path:
        """The lock that its keeper holds."""
        return self.folder / "keeper"

    def socket(self, service: str) -> Path:
        """Where `service` appears here."""
        return self.sockets / f"{service}.sock"

    def check(self, service: str) -> Path:
        """Where `service`, which is here, appears again after its way to the other side and back."""
        return self.sockets / f"{service}.check"

    def prepare(self, tunnel: Tunnel) -> None:
        """Make the folders, without any old socket. Raises ConfigError when they cannot be made."""
        for folder in (self.folder.parent, self.folder, self.sockets):
            statedir.make_private(folder, statedir.this_machine())
        alias, database = self.sockets / POSTGRES_SOCKET, self.socket(DATABASE) if tunnel.direction is Direction.LOCAL else self.check(DATABASE)
        for path in (self.socket(REDIS), self.socket(DATABASE), self.check(REDIS), self.check(DATABASE), alias):
            path.unlink(missing_ok=True)
        if tunnel.forward(DATABASE):
            alias.symlink_to(database.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """The way of one service through a tunnel, all places known."""

    service: str
    #: Where it is, on the side that has it, and where it appears on the other side.
    address: Address
    listens: tuple[Address, ...]
    #: The socket here that leads to it through the whole tunnel, and where on the other side that begins; None: at `address`.
    probe: Path
    begins: Address | None = None


def place(state: Path, machine: statedir.Machine, name: str) -> Place:
    """Return the folders of tunnel `name`; nothing is written."""
    folder = state / "tunnels" / name
    return Place(folder=folder, sockets=statedir.socket_folder(folder, machine))


def named(settings: Settings, name: str, *, key: str) -> Tunnel:
    """Return the tunnel that `key` names. Raises ConfigError when there is none, or when it leads away from here."""
    found = settings.tunnels.named.get(name)
    if found is None:
        there = ", ".join(settings.tunnels.named) or "none"
        raise ConfigError(f"{key}: there is no tunnel {name!r}", hint=f"Tunnels are lines of section [tunnels]; there are: {there}.")
    if found.direction is Direction.REMOTE:
        raise ConfigError(f"{key}: tunnel {name} is one with -R, which leads from here to {found.target}", hint=f"Let {key} name where it is here.")
    return found


def resolve(settings: Settings, state: Path, machine: statedir.Machine) -> Settings:
    """Return `settings` with the URLs that go through tunnels told by the sockets here. Raises ConfigError for one that cannot be."""
    redis_url, database_url = settings.redis.url, settings.database.url
    if redis_url.startswith(f"{SCHEME}://"):
        redis_url = _redis_url(settings, state, machine)
    if SUFFIX in database_url.partition("://")[0]:
        database_url = _database_url(settings, state, machine)
    if (redis_url, database_url) == (settings.redis.url, settings.database.url):
        return settings
    return replace(settings, redis=replace(settings.redis, url=redis_url), database=replace(settings.database, url=database_url))


def goes_through(url: str) -> str:
    """Return the name of the tunnel through which a URL goes; empty for one that goes through none."""
    scheme, _, rest = url.partition("://")
    return _split(rest)[1] if scheme == SCHEME or scheme.endswith(SUFFIX) else ""


def landed(settings: Settings) -> list[Path]:
    """Return the sockets in redis.url and database.url at which a tunnel of another machine ends here."""
    paths = [unquote(urlsplit(settings.redis.url).path) if settings.redis.url.startswith("unix:") else "",
             *parse_qs(urlsplit(settings.database.url).query).get("unix_socket", [])]
    return [Path(path) for path in paths if Path(path).parts[-4:-2] == LANDING]


def owner(landing: Path) -> str:
    """Return whose tunnel ends at the socket `landing`, as HOST:HOME; empty when it has never come."""
    try:
        return (landing.parent / "owner").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _split(rest: str) -> tuple[str, str, str, str]:
    """Return what stands before the @ (with it), the name, the path without its /, and the query of a URL, given without its scheme."""
    who, at, where = rest.rpartition("@")
    where, _, query = where.partition("?")
    name, _, path = where.partition("/")
    return who + at, name, path, query


def _redis_url(settings: Settings, state: Path, machine: statedir.Machine) -> str:
    who, name, number, query = _split(settings.redis.url.partition("://")[2])
    tunnel = named(settings, name, key="redis.url")
    if tunnel.forward(REDIS) is None:
        raise ConfigError(f"redis.url: no Redis goes through tunnel {name}", hint=f"Add `redis` to its line, {name}, in section [tunnels].")
    more = "&".join(part for part in (f"db={number}" if number else "", query) if part)
    return f"unix://{who}{quote(str(place(state, machine, name).socket(REDIS)))}" + (f"?{more}" if more else "")


def _database_url(settings: Settings, state: Path, machine: statedir.Machine) -> str:
    scheme, _, rest = settings.database.url.partition("://")
    kind = scheme.removesuffix(SUFFIX)
    who, name, database, query = _split(rest)
    tunnel = named(settings, name, key="database.url")
    if tunnel.forward(DATABASE) is None:
        raise ConfigError(f"database.url: no database goes through tunnel {name}", hint=f"Add `database` to its line, {name}, in section [tunnels].")
    own = place(state, machine, name)
    if kind not in _PORTS:
        raise ConfigError(f"database.url: {scheme}:// is none that goes through a tunnel", hint="Write mysql+tunnel:// or postgresql+tunnel://.")
    if kind.startswith("postgres"):
        where = f"/{database}?host={quote(str(own.sockets))}"
    else:
        where = f"localhost/{database}?unix_socket={quote(str(own.socket(DATABASE)))}"
    return f"{kind}://{who}{where}" + (f"&{query}" if query else "")


def routes(tunnel: Tunnel, settings: Settings, state: Path, machine: statedir.Machine, landing: str = "") -> list[Route]:
    """Return the ways through a tunnel; `landing` is the folder on the other side in which sockets of -R appear where the line names none.

    Raises ConfigError for a place that nobody told, and for a port that would let everybody of its machine use a Redis without a password.
    """
    own = place(state, machine, tunnel.name)
    found = []
    for forward in tunnel.forwards:
        address = forward.address or _usual(tunnel, forward, settings, state, machine)
        if forward.listen is not None and forward.listen.is_tcp:
            _need_password(tunnel, forward, settings)
        if tunnel.direction is Direction.LOCAL:
            listens = (Address(path=str(own.socket(forward.service))), *([forward.listen] if forward.listen else []))
            found.append(Route(service=forward.service, address=address, listens=listens, probe=own.socket(forward.service)))
        else:
            listen = forward.listen or Address(path=f"{landing}/{forward.service}.sock")
            found.append(Route(service=forward.service, address=address, listens=(listen,), probe=own.check(forward.service), begins=listen))
    return found


def needs_landing(tunnel: Tunnel) -> bool:
    """Tell whether a folder on the other side is needed in which sockets appear."""
    return tunnel.direction is Direction.REMOTE and any(forward.listen is None for forward in tunnel.forwards)


def _url_of(service: str, settings: Settings) -> str:
    return settings.redis.url if service == REDIS else settings.database.url


def _need_password(tunnel: Tunnel, forward: Forward, settings: Settings) -> None:
    """Raise ConfigError when a port would open a service to whoever has an account on its machine: a socket is its owner's alone, a port is not."""
    url, key = _url_of(forward.service, settings), "redis.url" if forward.service == REDIS else "database.url"
    is_of_this = goes_through(url) == tunnel.name if tunnel.direction is Direction.LOCAL else bool(url)
    if not is_of_this or not _split(url.partition("://")[2])[0].rstrip("@").partition(":")[2]:
        raise ConfigError(
            f"tunnel {tunnel.name}: port {forward.listen} would let every account of its machine use {forward.service}, and {key} has no password",
            hint=f"Leave the port out, so that it is a socket; or give {forward.service} a password, and write it into {key}.")


def _usual(tunnel: Tunnel, forward: Forward, settings: Settings, state: Path, machine: statedir.Machine) -> Address:
    """Return where a service is whose line does not say it: here by our own settings, over there at its usual port."""
    if tunnel.direction is Direction.REMOTE:
        return _here(forward.service, tunnel, resolve(settings, state, machine), state, machine)
    if forward.service == REDIS:
        return Address(host="127.0.0.1", port=_PORTS[REDIS])
    kind = settings.database.url.partition("://")[0].partition("+")[0]
    return Address(host="127.0.0.1", port=_PORTS.get(kind, _PORTS["mysql"]))


def _here(service: str, tunnel: Tunnel, settings: Settings, state: Path, machine: statedir.Machine) -> Address:
    if service == REDIS and not settings.redis.url:
        return Address(path=str(embedded.place(state, machine).socket))
    if service == DATABASE:
        from rqflow.store.engine import server_address  # here: SQLAlchemy takes half of a worker's memory, which tunnels to a hub do not need

        text = server_address(settings.database.url) if settings.database.url else ""
    else:
        parts = urlsplit(settings.redis.url)
        text = unquote(parts.path) if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        text = "" if parts.scheme == "sentinel" else text
    if not text:
        raise ConfigError(f"tunnel {tunnel.name}: where is the {service} that goes through it?",
                          hint=f"Write {service}=HOST:PORT or {service}=/PATH/OF.sock. A SQLite file goes through no tunnel.")
    return parse_address(text)
