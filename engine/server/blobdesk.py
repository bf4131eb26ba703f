"""The blob socket and everything that writes blobs, on a thread of its own: no fsync may ever delay a cancel."""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import zmq

from ...bridge.codec import BLOB_FROM_CLIENT, Envelope, decode_body, decode_header, encode
from ...bridge.errors import BadFrame, BridgeError, InternalError, TimedOut, TooLarge, UnknownBlob
from ...bridge.messages import Chunk, Credit, Error, Fetch, FetchReady, Put, PutReady, Stop, Stored
from ..settings import ServeSettings
from .blobs import BlobStore, Incoming
from .mailbox import Mailbox
from .sockets import Outbox

log = logging.getLogger(__name__)
_BURST = 64           # messages before the mailbox has its turn
_IDLE_POLL_MS, _BUSY_POLL_MS = 1000, 10
Key = tuple[bytes, str]     # peer, and the id that all messages of one transfer carry


@dataclass
class _Upload:
    incoming: Incoming
    touched: float        # monotonic seconds


@dataclass
class _Download:
    file: BinaryIO
    sha256: str
    size: int
    offset: int
    credits: int
    touched: float


class BlobDesk:
    """Serves Put and Fetch; takes posted work (adopting results, deleting files) in between."""

    def __init__(self, socket: zmq.Socket[bytes], store: BlobStore, settings: ServeSettings) -> None:
        """`socket` belongs to the desk's thread from start() on."""
        self._thread = threading.Thread(target=self._run, name="blob desk", daemon=True)
        self._socket, self._store, self._settings = socket, store, settings
        self._outbox = Outbox(socket, settings.replies_waiting)
        self._mailbox = Mailbox()
        self._uploads: dict[Key, _Upload] = {}
        self._downloads: dict[Key, _Download] = {}
        self._running = True
        self._handlers: dict[type, Callable[[Key, Envelope], None]] = {
            Put: self._put, Chunk: self._chunk, Fetch: self._fetch, Credit: self._credit, Stop: self._give_up}

    def start(self) -> None:
        self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """From any thread: have `call` run on the desk's, before any message that comes later."""
        self._mailbox.post(call)

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._mailbox.post(self._end)
        self._thread.join()

    def _end(self) -> None:
        self._running = False

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._mailbox.fileno(), zmq.POLLIN)
        swept = time.monotonic()
        while self._running:
            poller.poll(_IDLE_POLL_MS if self._outbox.is_empty else _BUSY_POLL_MS)
            self._mailbox.run_all()
            self._read()
            if not self._outbox.is_empty:
                self._outbox.flush()
                for key in list(self._downloads):
                    self._serve(key, 0)
            if self._outbox.gone or time.monotonic() - swept > 1.0:
                swept = time.monotonic()
                self._sweep(swept)
        self._close()

    def _read(self) -> None:
        for _ in range(_BURST):
            try:
                peer, *parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._answer(peer.bytes, [part.buffer for part in parts])

    def _answer(self, peer: bytes, parts: list[memoryview]) -> None:
        request = ""
        try:
            header = decode_header(parts, self._settings.limits)
            request = header.id
            envelope = decode_body(header, parts[1:], BLOB_FROM_CLIENT, self._settings.limits)
            self._handlers[type(envelope.message)]((peer, request), envelope)
        except BridgeError as error:
            self._refuse((peer, request), error)
        except Exception:   # the desk must outlive a bug; it is logged and answered
            log.exception("a blob request failed")
            self._refuse((peer, request), InternalError("The engine failed on this transfer; its log says why."))

    def _refuse(self, key: Key, error: BridgeError) -> None:
        """Say why, and end the transfer if it had begun."""
        self._drop(key)
        self._send(key, Error(error.code, error.message, error.hint))

    def _send(self, key: Key, message: Any, *frames: bytes) -> None:
        self._outbox.reply(key[0], encode(message, re=key[1], frames=frames, limits=self._settings.limits))

    # --- uploads -------------------------------------------------------------------------------------------------
    def _put(self, key: Key, envelope: Envelope) -> None:
        put: Put = envelope.message
        if put.size > self._settings.limits.blob_bytes:
            raise TooLarge(f"A file of {put.size} bytes is above the engine's limit of "
                           f"{self._settings.limits.blob_bytes}.", "Use smaller images.")
        self._drop(key)
        if self._store.size(put.sha256) is not None:
            self._send(key, Stored(put.sha256))
            return
        self._check_count()
        incoming = self._store.receive(put.sha256, put.size)
        if put.size == 0:
            incoming.finish()
            self._send(key, Stored(put.sha256))
            return
        self._uploads[key] = _Upload(incoming, time.monotonic())
        self._send(key, PutReady(put.sha256, 0, self._settings.limits.credits))

    def _chunk(self, key: Key, envelope: Envelope) -> None:
        chunk: Chunk = envelope.message
        upload = self._uploads.get(key)
        if upload is None or upload.incoming.sha256 != chunk.sha256:
            return   # on its way when the transfer ended
        upload.touched = time.monotonic()
        if not upload.incoming.write(chunk.offset, envelope.frames[0]):
            self._send(key, Credit(chunk.sha256, 1))
            return
        upload.incoming.finish()
        del self._uploads[key]
        self._send(key, Stored(chunk.sha256))

    # --- downloads -----------------------------------------------------------------------------------------------
    def _fetch(self, key: Key, envelope: Envelope) -> None:
        fetch: Fetch = envelope.message
        self._drop(key)
        size = self._store.size(fetch.sha256)
        if size is None:
            raise UnknownBlob("The engine does not have this file (any more).", "Run the job again.")
        self._check_count()
        try:
            file = self._store.path(fetch.sha256).open("rb")
        except OSError as error:
            raise UnknownBlob(f"The engine cannot read this file ({error.strerror}).", "Run the job again.") from error
        self._send(key, FetchReady(fetch.sha256, size))
        self._downloads[key] = _Download(file, fetch.sha256, size, 0, 0, time.monotonic())
        self._serve(key, fetch.credits)

    def _credit(self, key: Key, envelope: Envelope) -> None:
        self._serve(key, envelope.message.credits)

    def _serve(self, key: Key, credits: int) -> None:
        download = self._downloads.get(key)
        if download is None:
            return
        if credits:
            download.touched = time.monotonic()
        download.credits = min(download.credits + credits, self._settings.limits.credits)
        # Credits are a promise to read; a reader that breaks it must not make us hold its chunks.
        while download.credits and download.offset < download.size and not self._outbox.is_waiting(key[0]):
            data = download.file.read(self._settings.limits.chunk_bytes)
            if not data:
                self._refuse(key, BadFrame("A stored file is shorter than it was.", "Run the job again."))
                return
            self._send(key, Chunk(download.sha256, download.offset), data)
            download.offset += len(data)
            download.credits -= 1
        if download.offset >= download.size:
            self._drop(key)

    # --- both ----------------------------------------------------------------------------------------------------
    def _give_up(self, key: Key, envelope: Envelope) -> None:
        self._drop(key)

    def _drop(self, key: Key) -> None:
        upload = self._uploads.pop(key, None)
        if upload is not None:
            upload.incoming.abort()
        download = self._downloads.pop(key, None)
        if download is not None:
            download.file.close()

    def _check_count(self) -> None:
        if len(self._uploads) + len(self._downloads) >= self._settings.transfers:
            raise TooLarge("Too many transfers at once.", "Wait until some have ended.")

    def _sweep(self, now: float) -> None:
        """End transfers of peers that are away or stand still."""
        gone, self._outbox.gone = self._outbox.gone, set()
        late = now - self._settings.transfer_idle_s
        transfers: list[tuple[Key, _Upload | _Download]] = [*self._uploads.items(), *self._downloads.items()]
        for key, transfer in transfers:
            if key[0] in gone:
                self._drop(key)
            elif transfer.touched <= late:
                self._refuse(key, TimedOut("This transfer stood still for too long.", "Start it again."))

    def _close(self) -> None:
        for key in [*self._uploads, *self._downloads]:
            self._drop(key)
        self._socket.close()
        self._mailbox.close()
