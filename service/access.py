"""Who may ask for predictions, and how often: API keys and a limit a key.

Keys come in ``Authorization: Bearer KEY`` (RFC 6750). Without keys in the settings nobody is asked
for one. Health checks, metrics and documentation are open either way.
"""

from __future__ import annotations

import hmac
import math
import time
from hashlib import sha256

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request

from service.errors import TooOften, Unauthorised
from service.settings import Settings

SCHEME = "bearer"


class Access:
    """Checks a request before anything of its body is read.

    Args:
        settings: `api_keys` and `key_requests_per_minute`.
    """

    def __init__(self, settings: Settings) -> None:
        self._digests = [sha256(key.encode()).digest() for key in settings.keys]
        self._limit = (
            RateLimitItemPerMinute(settings.key_requests_per_minute)
            if settings.key_requests_per_minute
            else None
        )
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def identify(self, request: Request) -> str:
        """Let a request pass without counting it.

        Returns:
            Who asks: a digest of the key, the same after every start; empty without keys.

        Raises:
            Unauthorised: no key, or one that is not known.
        """
        return self._digests[self._caller(request)].hex() if self._digests else ""

    def check(self, request: Request) -> str:
        """Let a request pass, and count it.

        Returns:
            As `identify` does.

        Raises:
            Unauthorised: no key, or one that is not known.
            TooOften: the key's requests of the last minute are used up.
        """
        if not self._digests:
            return ""
        caller = self._caller(request)
        if self._limit is not None and not self._window.hit(self._limit, str(caller)):
            free = self._window.get_window_stats(self._limit, str(caller)).reset_time
            raise TooOften(
                f"This key may ask {self._limit.amount} times a minute.",
                retry_after_seconds=max(1, math.ceil(free - time.time())),
            )
        return self._digests[caller].hex()

    def _caller(self, request: Request) -> int:
        """The number of the request's key; the time it takes says nothing about the keys."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        given = sha256(key.strip().encode()).digest()
        known = [hmac.compare_digest(digest, given) for digest in self._digests]
        if scheme.lower() != SCHEME or not any(known):
            raise Unauthorised(
                "This service asks for an API key: send the header 'Authorization: Bearer KEY'.",
                param="Authorization",
            )
        return known.index(True)
