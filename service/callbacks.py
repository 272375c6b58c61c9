"""Telling a client's server that its job has ended: signed, and only where the operator admits it.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com), for which receivers
find libraries: HMAC-SHA256 over ``webhook-id``, ``webhook-timestamp`` and the body.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import structlog
from standardwebhooks import Webhook

from service.errors import InvalidField
from service.job_records import JobRecord
from service.settings import Settings, origin_of

log = structlog.stdlib.get_logger(__name__)

PAUSES_SECONDS = (2.0, 10.0, 60.0, 300.0, 1800.0)
"""After each try that was not received, how long until the next one (s)."""

TIMEOUT_SECONDS = 10.0
"""How long a receiver may take (s)."""


class Callbacks:
    """Checks addresses when a job comes, and calls them when it has ended.

    Args:
        settings: `callback_secret` and `callback_origins`; without them no address is admitted.
    """

    def __init__(self, settings: Settings) -> None:
        secret = settings.callback_secret
        self._signer = Webhook(secret.get_secret_value()) if secret is not None else None
        self._origins = {origin_of(text) for text in settings.allowed_callbacks}

    def check(self, url: str) -> None:
        """Refuse every address but the admitted ones.

        Raises:
            InvalidField: callbacks are off, or this address is not admitted.
        """
        if self._signer is None:
            raise InvalidField(
                "This service makes no callbacks; ask for the job instead.", param="callback_url"
            )
        try:
            admitted = origin_of(url) in self._origins
        except ValueError as error:
            raise InvalidField(f"The callback_url {error}.", param="callback_url") from error
        if not admitted:
            raise InvalidField(
                "The operator of this service admits no callbacks to this host.",
                param="callback_url",
            )

    async def tell(self, job: JobRecord) -> bool:
        """Send a finished job to its address; returns whether it was received (2xx).

        Redirects are not followed and no proxy or password of the environment is used, so that
        what was checked is what is called. Of the answer only the status is looked at.
        """
        if self._signer is None or job.callback_url is None:
            log.warning("a callback is due, and callbacks are off", job=job.id)
            return False
        now = datetime.now(UTC)
        body = json.dumps(job.document())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": job.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(job.id, now, body),
        }
        try:
            # Checked again: the list may be another one since the job came.
            self.check(job.callback_url)
            async with (
                httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client,
                client.stream(
                    "POST", job.callback_url, content=body, headers=headers, follow_redirects=False
                ) as response,
            ):
                received, reason = response.is_success, str(response.status_code)
        except (httpx.HTTPError, InvalidField) as error:
            received, reason = False, type(error).__name__
        if not received:
            # Of the address the origin alone: the rest may hold the client's secrets.
            scheme, host, port = origin_of(job.callback_url)
            log.warning(
                "a callback was not received",
                job=job.id,
                origin=f"{scheme}://{host}:{port}",
                reason=reason,
                tries=job.callback_tries,
            )
        return received
