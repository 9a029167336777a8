"""The papers view: what is new by day, what is central, and saved searches with digests.

Comes in: an index whose rows have a date, and the model that serves it. Goes out: routes of the server, Atom feeds and
e-mails. Start reading at ``service``, then ``digest`` (what is new) and ``routes`` (what is answered).
"""

from __future__ import annotations

from embedworks.serving.papers.settings import MailSettings, PapersSettings, read_papers_settings

__all__ = ["MailSettings", "PapersSettings", "read_papers_settings"]
