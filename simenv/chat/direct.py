"""The direct path to an endpoint: plain chat completions over aiohttp, at a tenth of the CPU of a full client."""

import json
import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from simenv.errors import MissingExtra

from .endpoint import Endpoint, Reply
from .faults import Passing, Unreachable
from .model import Question
from .ways import Way

try:
    import aiohttp
except ImportError as error:
    raise MissingExtra("the direct path to an endpoint", "llm") from error

CONNECTING = 10.0  # seconds


class Direct(Endpoint[aiohttp.ClientSession]):
    """A model behind an endpoint, asked with as little work as can be."""

    _proxy: str | None = None

    def _connect(self) -> aiohttp.ClientSession:
        self._proxy = _proxy(self.base_url)
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # whoever has a slot has a connection
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.timeout, sock_connect=CONNECTING),
        )

    async def _disconnect(self, client: aiohttp.ClientSession) -> None:
        await client.close()

    async def _post(self, client: aiohttp.ClientSession, question: Question, way: Way | None) -> Reply:
        body = self._bodies.pack(question, way)
        return await self._exchange(client, "POST", "/chat/completions", body)

    async def _post_decisions(self, client: aiohttp.ClientSession, question: Question, part: int) -> Reply:
        return await self._exchange(client, "POST", "/decisions", self._bodies.pack_decisions(question)[part])

    async def _list_models(self, client: aiohttp.ClientSession) -> Reply:
        return await self._exchange(client, "GET", "/models", None)

    async def _knock(self, client: aiohttp.ClientSession) -> Reply:
        return await self._exchange(client, "POST", "/chat/completions", json.dumps(self._bodies.nothing()).encode())

    async def _exchange(self, client: aiohttp.ClientSession, method: str, path: str, body: bytes | None) -> Reply:
        kind: type[Passing] = Passing
        try:
            async with client.request(
                method, self.base_url + path, data=body, allow_redirects=False, proxy=self._proxy
            ) as response:
                return Reply(response.status, response.headers, await response.read())
        except TimeoutError:
            trouble = f"was silent for {self.timeout:g} seconds"
        except aiohttp.ClientConnectorError as error:
            # Its own words hold the address.
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else "no such host"
            kind = Unreachable
            trouble = f"cannot be reached ({why}); is it running?"
        except aiohttp.ClientPayloadError:
            trouble = "cut its answer short"
        except aiohttp.ServerDisconnectedError:
            trouble = "hung up without an answer"
        except (aiohttp.ClientError, OSError) as error:
            trouble = f"broke off ({type(error).__name__})"
        # Raised here and not above, where the chain would hold the request and its headers.
        raise self._trouble(trouble, kind)


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for an address, looked up once rather than at every call."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
