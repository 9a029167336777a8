"""Sends the digests that are due, for as long as the server runs."""

from __future__ import annotations

import asyncio
import logging

from embedworks.serving.papers.service import PapersService

logger = logging.getLogger(__name__)

ROUND_S = 60.0


async def mail_rounds(papers: PapersService, *, every_s: float = ROUND_S) -> None:
    """Look every minute whether a digest is due; runs until it is cancelled.

    Args:
        papers: What knows the saved searches and the mail server.
        every_s: Time between two rounds.
    """
    while True:
        try:
            await papers.send_due()
        except Exception:  # one round that fails, whatever it met, must not end the rounds to come
            logger.exception("a round of digests failed")
        await asyncio.sleep(every_s)
