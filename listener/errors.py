"""What can go wrong, each with the exit code it ends a command with."""


class ListenerError(Exception):
    """A runtime failure that one clear line explains; a command that meets it exits with 1."""

    exit_code = 1


class InputError(ListenerError):
    """Something the user gave is wrong (a file, an option, a line); the message says what and where."""

    exit_code = 2


class ConfigError(InputError):
    """`listener.toml`, an environment variable or a file under `data/` does not say what it must."""


class ModelError(ListenerError):
    """A model can't be loaded: missing, changed, foreign or of another format."""


class StoreError(ListenerError):
    """The store can't be opened, is held by another daemon, or is corrupt; nothing was written."""


class StoreAway(StoreError):  # noqa: N818 - it says what is, and passes
    """The store can't be written or reached now (server away, disk full, locked): nothing was written; try it again."""


class BusError(ListenerError):
    """The bus between roles does not answer, or refuses what it is asked."""


class SourceError(ListenerError):
    """A source did not answer as its protocol says; the reason ends up in its health, never in a crash.

    `reason` is one short word for metrics (`timeout`, `status_503`, `not_a_feed`); `retry_after` is in seconds when
    the server said it.
    """

    def __init__(self, message: str, *, reason: str, retry_after: float | None = None, permanent: bool = False):
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after
        self.permanent = permanent
