"""Scenes on hosts that the region allows, read by ranges over HTTP.

GDAL's own /vsicurl/ follows redirects to any host; this client follows none, so that what is read is what was allowed.
"""

import io
from collections import OrderedDict
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

TIMEOUT = 30.0  # s; a server that needs longer for one range is down
ATTEMPTS = 3  # a connection that was kept alive may have been closed meanwhile
CHUNK = 1 << 20  # B per request: a few blocks of a COG, so that latency does not rule
CHUNKS = 8  # kept per file


class HttpError(OSError):
    """Why a URL cannot be read: the rest of a sentence that begins with it."""


class HttpFile(io.RawIOBase):
    """A seekable file over HTTP ranges; it keeps its last few chunks."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.at = urlsplit(url), 0
        self.connection: HTTPConnection | None = None
        self.chunks: OrderedDict[int, bytes] = OrderedDict()
        self.size = self._length()

    def _length(self) -> int:
        response = self._request("HEAD", {})
        length = response.getheader("Content-Length", "")
        if not length.isdigit():
            raise HttpError("cannot be read: the server does not tell its length")
        return int(length)

    def _request(self, method: str, headers: dict[str, str]) -> HTTPResponse:
        """The answer to one request, with its body still to be read, on a connection that may have to be renewed."""
        for attempt in range(ATTEMPTS):
            try:
                connection = self.connection or self._connect()
                connection.request(method, self.url._replace(scheme="", netloc="").geturl() or "/", headers=headers)
                return self._judged(connection.getresponse())
            except (HTTPException, ConnectionError, TimeoutError) as error:
                self.close_connection()
                if attempt == ATTEMPTS - 1:
                    raise HttpError(f"cannot be read: {error or type(error).__name__}") from error
            except HttpError:
                raise
            except OSError as error:
                raise HttpError(f"cannot be read: {error.strerror or error}") from error
        raise AssertionError("unreachable")

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self.url.scheme == "https" else HTTPConnection
        self.connection = kind(self.url.hostname or "", self.url.port, timeout=TIMEOUT)
        return self.connection

    def _judged(self, response: HTTPResponse) -> HTTPResponse:
        if response.status in (200, 206):
            return response
        response.read()
        if response.status in range(300, 400):
            raise HttpError("cannot be read: the server redirects, which is not followed; list the final address")
        raise HttpError(f"cannot be read: the server answers {response.status} {response.reason}")

    def _chunk(self, number: int) -> bytes:
        if number not in self.chunks:
            first, last = number * CHUNK, min((number + 1) * CHUNK, self.size) - 1
            response = self._request("GET", {"Range": f"bytes={first}-{last}"})
            data = response.read(last - first + 1)
            if response.status != 206 or len(data) != last - first + 1:
                self.close_connection()  # the rest of a whole file would follow
                raise HttpError("cannot be read: the server does not serve ranges")
            self.chunks[number] = data
        self.chunks.move_to_end(number)
        while len(self.chunks) > CHUNKS:
            self.chunks.popitem(last=False)
        return self.chunks[number]

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; returns the new position."""
        self.at = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence] + offset
        return self.at

    def tell(self) -> int:
        """The position."""
        return self.at

    def read(self, count: int = -1) -> bytes:
        """Up to ``count`` bytes from the position.

        Raises:
            HttpError: the server does not answer as it should.
        """
        stop = self.size if count < 0 else min(self.at + count, self.size)
        parts = []
        while self.at < stop:
            number, start = divmod(self.at, CHUNK)
            parts.append(self._chunk(number)[start : start + stop - self.at])
            self.at += len(parts[-1])
        return b"".join(parts)

    def close_connection(self) -> None:
        """Drop the connection; the next request opens another."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def close(self) -> None:
        """Drop connection and chunks."""
        self.close_connection()
        self.chunks.clear()
        super().close()
