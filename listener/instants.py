"""What people mean by since, until and bin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from listener import kinds
from listener.errors import InputError
from listener.signals import bins

Since = str | datetime | timedelta | None


def moment(said: str | datetime | timedelta, back_from: datetime | None = None) -> datetime:
    """An instant; or a length of time before `back_from`, where there is one. Without a zone it is UTC. Raises `InputError`."""
    if isinstance(said, timedelta | str) and back_from is not None:
        try:
            return back_from - (kinds.duration(said) if isinstance(said, str) else said)
        except OverflowError as error:
            raise InputError(f"{said!r} is too long ago") from error
        except ValueError:
            pass  # then it is an instant
    if isinstance(said, timedelta):
        raise InputError(f"{said!r}: an instant is wanted here, not a length of time")
    if isinstance(said, str):
        try:
            said = datetime.fromisoformat(said)
        except ValueError as error:
            lengths = "" if back_from is None else " nor a length of time (7d)"
            raise InputError(f"{said!r} is no instant (2026-11-21T14:03:00Z){lengths}") from error
    return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)


def bin_of(length: str | timedelta) -> timedelta:
    """The length of a bin. Raises `InputError` unless it is whole minutes."""
    try:
        made = kinds.duration(length) if isinstance(length, str) else length
    except ValueError as error:
        raise InputError(f"bin={length!r}: {error}") from error
    if made < bins.BIN or made % bins.BIN:
        raise InputError(f"bin={length!r}: must be whole minutes, one at the least")
    return made
