"""The settings of the papers view, as the environment gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embedworks.foundation import InputError
from embedworks.serving import MailSettings, PapersSettings, read_papers_settings

MAIL = {"EMBEDWORKS_SMTP_HOST": "mail.example.org", "EMBEDWORKS_MAIL_TO": "me@example.org"}


def test_an_empty_environment_sends_no_mail() -> None:
    assert read_papers_settings({}) == PapersSettings()
    assert read_papers_settings({"EMBEDWORKS_SMTP_HOST": "", "EMBEDWORKS_MAIL_TO": ""}) == PapersSettings()


def test_the_environment_sets_up_everything() -> None:
    given = MAIL | {
        "EMBEDWORKS_SMTP_SECURITY": "tls", "EMBEDWORKS_SMTP_USER": "me", "EMBEDWORKS_SMTP_PASSWORD": "secret",
        "EMBEDWORKS_MAIL_FROM": "papers@example.org", "EMBEDWORKS_SAVED_SEARCHES": "/srv/saved",
        "EMBEDWORKS_PAGE_ADDRESS": "https://papers.example.org/", "EMBEDWORKS_DATE_ATTRIBUTE": "day",
    }  # fmt: skip
    settings = read_papers_settings(given)
    assert (settings.folder, settings.address, settings.date) == (
        Path("/srv/saved"),
        given["EMBEDWORKS_PAGE_ADDRESS"],
        "day",
    )
    assert settings.mail is not None
    assert settings.mail.address == ("mail.example.org", 465)
    assert settings.mail.sender == "papers@example.org"
    assert "secret" not in repr(settings)
    assert read_papers_settings(given, folder=Path("other"), date="seen").folder == Path("other")
    assert read_papers_settings(given | {"EMBEDWORKS_SMTP_PORT": "2525"}).mail.address[1] == 2525  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"EMBEDWORKS_SMTP_HOST": "mail"}, "set both"), ({"EMBEDWORKS_MAIL_TO": "me@example.org"}, "set both"),
        (MAIL | {"EMBEDWORKS_SMTP_PORT": "0"}, "is no port"), (MAIL | {"EMBEDWORKS_SMTP_PORT": "x"}, "is no port"),
        (MAIL | {"EMBEDWORKS_SMTP_SECURITY": "ssl"}, "use starttls, tls or none"),
        (MAIL | {"EMBEDWORKS_SMTP_USER": "me"}, "give both or neither"),
        (MAIL | {"EMBEDWORKS_MAIL_TO": "me@example.org\nBcc: you@example.org"}, "is no mail address"),
        (MAIL | {"EMBEDWORKS_MAIL_FROM": "papers"}, "is no mail address"),
        (MAIL | {"EMBEDWORKS_SMTP_USER": "me", "EMBEDWORKS_SMTP_PASSWORD": "ö"}, "must be ASCII"),
        (
            MAIL | {"EMBEDWORKS_SMTP_USER": "me", "EMBEDWORKS_SMTP_PASSWORD": "p", "EMBEDWORKS_SMTP_SECURITY": "none"},
            "in the clear",
        ),
        ({"EMBEDWORKS_PAGE_ADDRESS": "javascript:x"}, "must begin with"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_at_the_start(given: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_papers_settings(given)


def test_a_password_may_go_in_the_clear_to_this_machine_alone() -> None:
    fields: dict[str, Any] = {"recipient": "me@example.org", "security": "none", "user": "me", "password": "p"}
    assert MailSettings(host="127.0.0.1", **fields).address == ("127.0.0.1", 25)
    with pytest.raises(InputError):
        MailSettings(host="192.0.2.1", **fields)
