"""How the papers view is set up: which date, where saved searches are kept, and the mail server for digests."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from embedworks.foundation import InputError
from embedworks.serving.settings import LOOPBACK_HOSTS

Security = Literal["starttls", "tls", "none"]

_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, kw_only=True)
class MailSettings:
    """The mail server that digests leave by, and the one address they go to.

    Args:
        host: Name of the SMTP server.
        port: Its port; None takes the usual one of ``security`` (587, 465, 25).
        security: ``starttls`` and ``tls`` encrypt; ``none`` is for a mail server on this machine.
        user: Name to log in with, or None.
        password: Password to log in with; never logged.
        sender: Address the digests come from; None takes the recipient's.
        recipient: The only address that digests are sent to.
        every_hours: Least time between two digests of one saved search.
        timeout_s: Time the mail server has for each answer.
    """

    host: str
    recipient: str
    port: int | None = None
    security: Security = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sender: str | None = None
    every_hours: float = 24.0
    timeout_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuse addresses that are none, and a password that would cross a network in the clear."""
        if self.security not in _PORTS:
            raise InputError(f"{self.security!r} is unknown", where="SMTP security", mend="use starttls, tls or none")
        for name, address in (("recipient", self.recipient), ("sender", self.sender)):
            if address is not None and _MAIL_ADDRESS.fullmatch(address) is None:
                raise InputError("is no mail address", where=f"mail {name}", mend="give one such as me@example.org")
        if (self.user is None) != (self.password is None):
            raise InputError("user and password go together", where="SMTP", mend="give both or neither")
        if not ((self.user or "") + (self.password or "")).isascii():
            raise InputError("user and password must be ASCII", where="SMTP")
        if self.password is not None and self.security == "none" and self.host not in LOOPBACK_HOSTS:
            raise InputError(
                "the password would be sent in the clear", where="SMTP security", mend="use starttls or tls"
            )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or _PORTS[self.security]


@dataclass(frozen=True, kw_only=True)
class PapersSettings:
    """Settings of the papers view.

    Args:
        date: The attribute to order by; None takes the first that holds dates.
        folder: Where saved searches are kept; None takes a folder beside the index.
        address: Address of the page as its readers know it, for links in feeds and mails.
        mail: The mail server, or None for no mails.
    """

    date: str | None = None
    folder: Path | None = None
    address: str | None = None
    mail: MailSettings | None = None

    def __post_init__(self) -> None:
        """Refuse an address that no link could begin with."""
        if self.address is not None and urlsplit(self.address).scheme not in ("http", "https"):
            raise InputError("must begin with http:// or https://", where="address of the page")


def read_papers_settings(
    environment: Mapping[str, str] = os.environ,
    *,
    date: str | None = None,
    folder: Path | None = None,
    address: str | None = None,
) -> PapersSettings:
    """Read the settings from the environment, where a password is not seen by other users of the machine.

    ``EMBEDWORKS_SMTP_HOST`` and ``EMBEDWORKS_MAIL_TO`` switch mails on; ``EMBEDWORKS_SMTP_PORT``,
    ``EMBEDWORKS_SMTP_SECURITY`` (starttls, tls, none), ``EMBEDWORKS_SMTP_USER``, ``EMBEDWORKS_SMTP_PASSWORD`` and
    ``EMBEDWORKS_MAIL_FROM`` may be given besides. ``EMBEDWORKS_SAVED_SEARCHES`` names the folder of saved searches,
    ``EMBEDWORKS_PAGE_ADDRESS`` the address of the page, ``EMBEDWORKS_DATE_ATTRIBUTE`` the attribute to order by.

    Args:
        environment: Where the variables are looked up.
        date: As in :class:`PapersSettings`; None looks at the environment, here and below.
        folder: As in :class:`PapersSettings`.
        address: As in :class:`PapersSettings`.

    Raises:
        InputError: A variable cannot be used, or only one of the two is there.
    """
    given = {name: value for name, value in environment.items() if name.startswith("EMBEDWORKS_") and value}
    host, recipient = given.get("EMBEDWORKS_SMTP_HOST"), given.get("EMBEDWORKS_MAIL_TO")
    mail = None
    if (host is None) != (recipient is None):
        mend = "set both EMBEDWORKS_SMTP_HOST and EMBEDWORKS_MAIL_TO, or neither"
        raise InputError("a mail server and an address go together", where="environment", mend=mend)
    if host is not None and recipient is not None:
        port = given.get("EMBEDWORKS_SMTP_PORT")
        if port is not None and not (port.isdecimal() and 0 < int(port) < 65_536):
            raise InputError(f"{port!r} is no port", where="EMBEDWORKS_SMTP_PORT")
        mail = MailSettings(
            host=host,
            port=None if port is None else int(port),
            security=cast("Security", given.get("EMBEDWORKS_SMTP_SECURITY", "starttls")),
            user=given.get("EMBEDWORKS_SMTP_USER"),
            password=given.get("EMBEDWORKS_SMTP_PASSWORD"),
            sender=given.get("EMBEDWORKS_MAIL_FROM"),
            recipient=recipient,
        )
    named = given.get("EMBEDWORKS_SAVED_SEARCHES")
    return PapersSettings(
        date=date or given.get("EMBEDWORKS_DATE_ATTRIBUTE"),
        folder=folder or (None if named is None else Path(named)),
        address=address or given.get("EMBEDWORKS_PAGE_ADDRESS"),
        mail=mail,
    )
