"""The connection to PostgreSQL: opening it without telling secrets, vectors in binary form, errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, MissingExtraError, StorageError

if TYPE_CHECKING:
    import psycopg

_CONNECT_TIMEOUT_S = 10


class SentVector:
    """A vector on its way to the server.

    Args:
        values: Shape (dimension,).
    """

    __slots__ = ("values",)

    def __init__(self, values: NDArray[np.floating]) -> None:
        self.values = values


def connected(address: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Connect to a server.

    Args:
        address: As libpq takes it: ``postgresql://user@host:5432/database`` or ``host=... dbname=...``.

    Returns:
        The connection; statements commit by themselves, and times come in UTC.

    Raises:
        MissingExtraError: psycopg is not installed.
        InputError: The address cannot be read.
        StorageError: The server cannot be reached, or refuses.
    """
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtraError("psycopg", extra="pgvector", needed_for="a collection in PostgreSQL") from error
    try:
        settings = psycopg.conninfo.conninfo_to_dict(address, connect_timeout=_CONNECT_TIMEOUT_S)
        connection = psycopg.connect(autocommit=True, **settings)  # type: ignore[arg-type,unused-ignore]
        connection.execute("set timezone to 'UTC'")
    except psycopg.ProgrammingError:
        # What libpq says here quotes the address, password included, so neither its words nor the chain may go on.
        mend = "write it like postgresql://user@host:5432/database"
        raise InputError("the address cannot be read", where="PostgreSQL", mend=mend) from None
    except psycopg.Error as error:
        secret = str(settings.get("password") or "")
        said = str(error).replace(secret, "...") if secret else str(error)
        raise StorageError(said, where="PostgreSQL", mend="check the address and that the server runs") from None
    return connection


def register_vectors(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Teach a connection the binary form of pgvector's type.

    Args:
        connection: An open connection.

    Returns:
        Whether the database has the type.
    """
    from psycopg.adapt import Dumper, Loader
    from psycopg.pq import Format
    from psycopg.types import TypeInfo

    found = TypeInfo.fetch(connection, "vector")
    if found is None:
        return False
    found.register(connection)
    number = found.oid

    class VectorDumper(Dumper):
        format = Format.BINARY
        oid = number

        def dump(self, obj: SentVector) -> bytes:
            # vector_send: the dimension and an unused number in 16 bits each, then big-endian float32.
            return len(obj.values).to_bytes(2, "big") + b"\0\0" + obj.values.astype(">f4").tobytes()

    class VectorLoader(Loader):
        format = Format.BINARY

        def load(self, data: Any) -> NDArray[np.float32]:
            return np.frombuffer(data, dtype=">f4", offset=4).astype(np.float32)

    connection.adapters.register_dumper(SentVector, VectorDumper)
    connection.adapters.register_loader(number, VectorLoader)
    return True


@contextmanager
def server_errors(place: str) -> Iterator[None]:
    """Turn what the server refuses into one line.

    Args:
        place: What the line names, such as the table.

    Raises:
        InputError: An id stands there already, added by another writer meanwhile.
        StorageError: Anything else that the server or the connection says.
    """
    import psycopg

    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        detail = error.diag.message_detail or "an id exists already"
        raise InputError(
            detail.rstrip("."), where=place, mend="pass replace=True to put the new rows in place"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StorageError(
            _first_line(error), where=place, mend="ask the owner of the database for the right"
        ) from error
    except psycopg.Error as error:
        mend = "what was committed before is kept; open the collection again and repeat the call"
        raise StorageError(_first_line(error), where=place, mend=mend) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
