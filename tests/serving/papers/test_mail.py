"""Digests by mail, through a mail server on this machine: what arrives, when, and what happens when none does."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from embedworks.index import Index
from embedworks.serving import MailSettings, PapersSettings
from embedworks.serving.papers import service as papers_service
from embedworks.serving.papers.attributes import PaperAttributes
from embedworks.serving.papers.mail import MailError, digest_message, send
from embedworks.serving.papers.saved import SavedSearch
from embedworks.serving.papers.shown import Paper, Shown

NOW = datetime(2026, 7, 2, 8, tzinfo=UTC)
RECIPIENT = "me@example.org"


class Inbox:
    """Takes what the mail server is handed; ``refuse`` makes it say no at one of its stages."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []
        self.refuse: str | None = None

    async def handle_MAIL(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        envelope.mail_from = address
        return "550 not you, hunter2" if self.refuse == "sender" else "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        if self.refuse == "recipient":
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuse == "data":
            return "554 not this"
        self.envelopes.append(envelope)
        return "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(envelope.content, policy=policy.default) for envelope in self.envelopes]  # type: ignore[misc]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def smtp(inbox: Inbox) -> Iterator[Callable[..., int]]:
    """Start mail servers with given options on free ports; return the port."""
    from aiosmtpd.controller import Controller

    class FreePort(Controller):
        """Learns the port it was given before it asks itself whether it answers."""

        def _trigger_server(self) -> None:
            self.port = self.server.sockets[0].getsockname()[1]
            super()._trigger_server()

    running: list[Controller] = []

    def start_smtp(**options: Any) -> int:
        controller = FreePort(inbox, hostname="127.0.0.1", port=0, **options)
        controller.start()
        running.append(controller)
        return int(controller.port)

    yield start_smtp
    for controller in running:
        controller.stop()


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(papers_service, "_LOOK_AGAIN_S", 0.0)


def mail(port: int, **fields: Any) -> MailSettings:
    return MailSettings(**{"host": "127.0.0.1", "port": port, "security": "none", "recipient": RECIPIENT, **fields})


class Reader:
    """A server with a mail server, a clock that a test turns, and one round of digests."""

    def __init__(self, server: Any) -> None:
        self.client, self._view = server.client, server.app.state.papers
        self.now = NOW
        self._view._clock = lambda: self.now

    def save(self, **fields: str) -> str:
        answer = self.client.post("/saved", json={"name": "Graphs", **fields})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["key"])

    def daily(self, key: str, daily: bool = True) -> None:
        assert self.client.post(f"/saved/{key}/mail", json={"daily": daily}).json()["daily"] is daily

    def round(self, **passed: float) -> int:
        self.now += timedelta(**passed)
        return asyncio.run(self._view.send_due())


@pytest.fixture
def reader(start: Any, papers: Index, smtp: Callable[..., int]) -> Reader:
    settings = PapersSettings(mail=mail(smtp()), address="http://127.0.0.1:8765/")
    return Reader(start(index=papers, papers=settings, title="Daily"))


# ---- what arrives, and when ------------------------------------------------------------------------------------------


def test_what_is_new_arrives_once_a_day(reader: Reader, inbox: Inbox, add: Callable[..., None]) -> None:
    key = reader.save(query="graph networks", where="categories contains 'cs.IR'")
    add("before", "Before anybody asked for mails")
    reader.daily(key)
    assert reader.round(days=2) == 0  # nothing has come since
    add("n1", "Graph networks recommend tea")
    add("n2", "Of no interest", categories=("cs.RO",))
    assert reader.round(hours=1) == 1
    (message,) = inbox.messages
    (envelope,) = inbox.envelopes
    assert envelope.rcpt_tos == [RECIPIENT]
    assert message["To"] == RECIPIENT
    assert message["Subject"] == "Graphs: 1 new paper"
    assert message.get_content_type() == "text/plain"
    text = message.get_content()
    assert "Graph networks recommend tea" in text
    assert "Grace Hopper" in text
    assert "2026-07-02" in text
    assert f"http://127.0.0.1:8765/?saved={key}" in text
    assert "Of no interest" not in text
    assert "Before anybody" not in text
    add("n3", "Graph networks recommend coffee")
    assert reader.round(hours=23) == 0
    assert reader.round(hours=2) == 1
    assert "tea" not in inbox.messages[1].get_content()
    assert reader.round(days=3) == 0
    reader.daily(key, daily=False)
    add("n4", "Graph networks recommend water")
    assert reader.round(days=3) == 0


def test_what_the_page_showed_is_not_mailed(reader: Reader, inbox: Inbox, add: Callable[..., None]) -> None:
    key = reader.save()
    reader.daily(key)
    add("n1", "Seen on the page")
    reader.client.post(f"/saved/{key}/visit", json={})
    add("n2", "Not seen yet")
    assert reader.round(days=2) == 1
    text = inbox.messages[0].get_content()
    assert "Not seen yet" in text
    assert "Seen on the page" not in text


def test_the_digest_that_the_page_shows_can_be_mailed(reader: Reader, inbox: Inbox, add: Callable[..., None]) -> None:
    key = reader.save()
    assert reader.client.post(f"/saved/{key}/send", json={}).json() == {"sent": 0}
    add("n1", "One")
    add("n2", "Two")
    assert reader.client.post(f"/saved/{key}/visit", json={}).json()["passing"] == 2
    assert reader.client.post(f"/saved/{key}/send", json={}).json() == {"sent": 2}
    assert inbox.messages[0]["Subject"] == "Graphs: 2 new papers"
    assert reader.client.get("/saved").json()["searches"][0]["mailed_at"] is not None


def test_the_page_says_where_mails_go(reader: Reader) -> None:
    assert reader.client.get("/about").json()["papers"]["mail_to"] == RECIPIENT


def test_the_server_sends_by_itself(
    start: Any, papers: Index, smtp: Callable[..., int], inbox: Inbox, add: Any
) -> None:
    settings = PapersSettings(mail=mail(smtp(), every_hours=1e-6))
    first = start(index=papers, papers=settings)
    reader = Reader(first)
    reader.now = datetime.now(UTC) - timedelta(hours=1)
    reader.daily(reader.save())
    add("n1", "One that came while nobody looked")
    first.stop()
    first.client = start(index=Index.open(papers.path), papers=settings).client
    for _ in range(200):
        if inbox.envelopes:
            break
        first.client.get("/health")
    assert "One that came while nobody looked" in inbox.messages[0].get_content()


def test_without_a_mail_server_the_page_is_told(start: Any, papers: Index) -> None:
    client = start(index=papers).client
    key = client.post("/saved", json={"name": "a"}).json()["key"]
    for path, body in (("send", {}), ("mail", {"daily": True})):
        answer = client.post(f"/saved/{key}/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_mail_server")
        assert "EMBEDWORKS_SMTP_HOST" in answer.json()["error"]["message"]


# ---- when it fails ---------------------------------------------------------------------------------------------------


def test_a_mail_that_could_not_leave_leaves_later(
    reader: Reader, inbox: Inbox, add: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    key = reader.save()
    reader.daily(key)
    add("n1", "Patience")
    inbox.refuse = "recipient"
    with caplog.at_level(logging.WARNING):
        assert reader.round(days=2) == 0
    assert "EMBEDWORKS_MAIL_TO" in caplog.text
    inbox.refuse = None
    assert reader.round(minutes=1) == 0  # not yet again
    assert reader.round(minutes=15) == 1
    assert "Patience" in inbox.messages[0].get_content()
    add("n2", "Again")
    inbox.refuse = "data"
    answer = reader.client.post(f"/saved/{key}/send", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "mail_failed")
    inbox.refuse = None
    assert reader.round(days=2) == 1


def test_what_a_server_answers_is_not_repeated(smtp: Callable[..., int], inbox: Inbox) -> None:
    inbox.refuse = "sender"
    with pytest.raises(MailError, match="refused the message \\(550\\)") as caught:
        send(message(), mail(smtp()))
    assert "hunter2" not in str(caught.value)


def test_a_server_that_is_not_there(smtp: Callable[..., int]) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(MailError, match=r"cannot be reached .ConnectionRefusedError.*EMBEDWORKS_SMTP_HOST"):
        send(message(), mail(port))
    with pytest.raises(MailError, match="cannot encrypt"):
        send(message(), mail(smtp(), security="starttls"))  # it does not offer to, and nothing goes in the clear


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody vouches for, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    paths = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*command, "-keyout", paths[1], "-out", paths[0], "-days", "2", *subject], check=True, capture_output=True
    )
    return paths


@pytest.fixture
def encrypted(smtp: Callable[..., int], certificate: tuple[Path, Path]) -> Callable[..., int]:
    def start_encrypted(**options: Any) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        return smtp(tls_context=context, **options)

    return start_encrypted


def test_a_certificate_nobody_vouches_for_is_refused(encrypted: Callable[..., int], inbox: Inbox) -> None:
    with pytest.raises(MailError, match=r"cannot be reached .SSLCertVerificationError"):
        send(message(), mail(encrypted(), security="starttls"))
    assert inbox.envelopes == []


def test_login_over_an_encrypted_connection(
    encrypted: Callable[..., int], inbox: Inbox, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiosmtpd.smtp import AuthResult, LoginPassword

    def known(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        good = data == LoginPassword(b"me", b"right-password")
        return AuthResult(success=good, handled=good)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))  # now somebody vouches for it
    port = encrypted(authenticator=known, auth_required=True)
    login = {"security": "starttls", "user": "me", "sender": "papers@example.org"}
    send(message(), mail(port, password="right-password", **login))
    (envelope,) = inbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("papers@example.org", [RECIPIENT])
    with pytest.raises(MailError, match=r"refused the login .535") as caught:
        send(message(), mail(port, password="wrong-password", **login))
    assert "wrong-password" not in str(caught.value)
    assert caught.value.__cause__ is None


# ---- what is written -------------------------------------------------------------------------------------------------


def message(name: str = "Graphs", papers: tuple[Paper, ...] = (), **fields: Any) -> EmailMessage:
    search = SavedSearch(name=name, created=NOW, visited=NOW, since=NOW, **fields)
    return digest_message(
        search, Shown(list(papers), len(papers), "newest first"), settings=mail(25), title="Daily", page=None, now=NOW,
        attributes=PaperAttributes(date="date", title="title", authors="authors"),
    )  # fmt: skip


def test_texts_cannot_add_headers_or_lines() -> None:
    wicked = "x\r\nBcc: you@example.org\r\n\r\n.\r\nMAIL FROM:<you@example.org>"
    paper = Paper(wicked, wicked, {"title": wicked, "authors": [wicked, "\u2028line", "\ud800"], "date": None})
    written = message(wicked, (paper,), query=wicked, where=wicked)
    read = message_from_bytes(written.as_bytes(), policy=policy.default)
    assert read["Bcc"] is None
    assert read["To"] == RECIPIENT
    assert set(read.keys()) == {
        "Subject", "From", "To", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    }  # fmt: skip
    assert not any(line.startswith(("Bcc", ".", "MAIL")) for line in read.get_content().splitlines())


def test_a_long_digest_says_how_many_it_leaves_out() -> None:
    papers = [Paper(f"p{n}", None, {"title": f"T{n}", "authors": list("ABCDE"), "date": NOW.date()}) for n in range(3)]
    search = SavedSearch(name="All", created=NOW, visited=NOW, since=NOW)
    attributes = PaperAttributes(date="date", title="title", authors="authors")
    text = digest_message(
        search, Shown(papers, 1_234, "newest first"), settings=mail(25), title="D", page=None, now=NOW,
        attributes=attributes,
    ).get_content()  # fmt: skip
    assert "1,234 new papers in D" in text
    assert "These are 3 of them, newest first." in text
    assert "A, B, C and 2 more" in text
    assert "http" not in text
