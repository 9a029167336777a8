"""A digest as an e-mail: plain text, to the one address that the server was set up with."""

from __future__ import annotations

import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from embedworks.foundation import EmbedworksError
from embedworks.serving.papers.attributes import PaperAttributes, names_of
from embedworks.serving.papers.feed import link_of, title_of
from embedworks.serving.papers.saved import SavedSearch
from embedworks.serving.papers.settings import MailSettings
from embedworks.serving.papers.shown import Shown
from embedworks.serving.plain_values import plain_value

_AUTHORS = 3
_PLAIN = str.maketrans({sign: " " for sign in map(chr, [*range(32), 127]) if sign != "\n"})


class MailError(EmbedworksError):
    """The mail server could not be reached or refused; the message holds no password and no answer of the server."""


def digest_message(
    search: SavedSearch,
    shown: Shown,
    *,
    settings: MailSettings,
    attributes: PaperAttributes,
    title: str,
    page: str | None,
    now: datetime,
) -> EmailMessage:
    """Write the mail of a digest.

    Args:
        search: The saved search.
        shown: What is new.
        settings: Sender and recipient.
        attributes: Which attributes are date, title and authors.
        title: Name of the collection.
        page: Address of the page, ending in a slash, or None for no links.
        now: For the header Date.
    """
    message = EmailMessage(policy=SMTP)
    papers = "paper" if shown.passing == 1 else "papers"
    message["Subject"] = " ".join(f"{search.name}: {shown.passing:,} new {papers}".translate(_PLAIN).split())
    message["From"] = settings.sender or settings.recipient
    message["To"] = settings.recipient
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=(settings.sender or settings.recipient).rpartition("@")[2])
    lines = [f"{shown.passing:,} new {papers} in {title} for the saved search {search.name!r}."]
    if search.query:
        lines.append(f"Query: {search.query}")
    if search.where:
        lines.append(f"Filter: {search.where}")
    if len(shown.papers) < shown.passing:
        lines.append(f"These are {len(shown.papers)} of them, {shown.how}.")
    for number, paper in enumerate(shown.papers, start=1):
        authors = [] if attributes.authors is None else names_of(paper.attributes.get(attributes.authors))
        by = ", ".join(authors[:_AUTHORS]) + (f" and {len(authors) - _AUTHORS} more" if authors[_AUTHORS:] else "")
        day = plain_value(paper.attributes.get(attributes.date))
        lines += ["", f"{number}. {title_of(paper, attributes)}"]
        lines += [f"   {part}" for part in (by, str(day or "")) if part]
        if page is not None:
            lines.append(f"   {link_of(paper, attributes, page=page)}")
    if page is not None:
        lines += ["", f"All of them: {page}?saved={search.key}"]
    text = "\n".join(line.translate(_PLAIN).replace("\n", " ").rstrip() for line in lines) + "\n"
    message.set_content(text.encode("utf-8", "replace").decode(), cte="quoted-printable")
    return message


def send(message: EmailMessage, settings: MailSettings) -> None:
    """Hand a message to the mail server; blocks, so call it from a thread.

    Args:
        message: What :func:`digest_message` wrote.
        settings: The mail server; the message goes to its recipient alone, whatever the headers say.

    Raises:
        MailError: The server could not be reached, or it refused.
    """
    host, port = settings.address
    sender = settings.sender or settings.recipient
    try:
        context = ssl.create_default_context()
        server: smtplib.SMTP = (
            smtplib.SMTP_SSL(host, port, timeout=settings.timeout_s, context=context)
            if settings.security == "tls"
            else smtplib.SMTP(host, port, timeout=settings.timeout_s)
        )
        with server:
            if settings.security == "starttls":
                server.starttls(context=context)
            if settings.user is not None and settings.password is not None:
                server.login(settings.user, settings.password)
            server.send_message(message, from_addr=sender, to_addrs=[settings.recipient])
    except smtplib.SMTPAuthenticationError as error:
        # What a server says to a login may repeat what it was sent, so only the number goes on; the cause stays here.
        mend = "check EMBEDWORKS_SMTP_USER and EMBEDWORKS_SMTP_PASSWORD"
        raise MailError(f"refused the login ({error.smtp_code})", where="mail server", mend=mend) from None
    except smtplib.SMTPResponseException as error:
        raise MailError(f"refused the message ({error.smtp_code})", where="mail server") from None
    except smtplib.SMTPRecipientsRefused:
        raise MailError("refused the recipient", where="mail server", mend="check EMBEDWORKS_MAIL_TO") from None
    except smtplib.SMTPNotSupportedError:
        mend = "check EMBEDWORKS_SMTP_SECURITY"
        raise MailError("cannot encrypt or log in", where="mail server", mend=mend) from None
    except (OSError, smtplib.SMTPException) as error:
        mend = "check EMBEDWORKS_SMTP_HOST, EMBEDWORKS_SMTP_PORT and EMBEDWORKS_SMTP_SECURITY"
        raise MailError(f"cannot be reached ({type(error).__name__})", where="mail server", mend=mend) from None
