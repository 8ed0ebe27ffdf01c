"""What a server is told before it starts, checked once."""

from __future__ import annotations

import dataclasses
import ipaddress
import secrets
from urllib.parse import urlsplit

from t2igan.errors import UserError
from t2igan.inference.credentials import Signer
from t2igan.inference.drawing import BATCH_SIZES
from t2igan.inference.rules import PromptRules
from t2igan.inference.serving.keys import Key
from t2igan.inference.watermark import Secret

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a server; a wrong value is a `UserError`."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0 = any that is free
    public_url: str = ""  # how clients reach the server, if not by the host that they name; addresses begin with it
    keys: tuple[Key, ...] = ()  # none = no key is asked for
    allowed_hosts: tuple[str, ...] = ()  # names in `Host` besides the local ones; without keys nothing else is answered
    cors_origins: tuple[str, ...] = ()  # origins whose pages may call the API
    trusted_proxies: tuple[str, ...] = ()  # addresses whose X-Forwarded-For and -Proto count
    link_secret: bytes = dataclasses.field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    link_s: int = 3600  # how long an address of a picture is good
    batch_images: int = 64  # pictures that the device draws at once, a power of two
    drawing_threads: int = 0  # batches that are drawn at the same time, 0 = as many as suit the device
    queue_images: int = 512  # pictures that may wait
    request_images: int = 16  # pictures a request
    requests_per_minute: int = 0  # of a client, 0 = as many as it likes
    images_per_minute: int = 0
    a1111: bool = False  # whether AUTOMATIC1111's API is answered, too
    timeout_s: float = 30.0  # from the arrival of a request to its pictures
    drain_s: float = 1.0  # how long new requests are still taken after SIGTERM
    header_s: float = 10.0  # for the headers of a request to come in
    body_s: float = 30.0  # for its body, and for a client to read something of its answer
    body_bytes: int = 8 * 2**20
    prompt_characters: int = 2_000  # reading weights takes the square of it in time; 0.2 s for 4,000 characters
    rules: PromptRules = dataclasses.field(default_factory=PromptRules)  # what prompts may say
    watermark: Secret | None = None  # in every picture; the models have to draw 64 px or more
    signer: Signer | None = None  # of content credentials (C2PA) in every picture
    largest_px: int = 2048  # the longest side of a picture that is handed out
    connections: int = 1000  # open at a time
    open_metrics: bool = False  # whether /metrics is read without a key
    log_format: str = "json"  # or "plain"
    log_prompts: bool = False

    def __post_init__(self) -> None:
        """Checks the values."""
        _between("port", self.port, 0, 65535)
        _between("drawing_threads", self.drawing_threads, 0, 64)
        _between("queue_images", self.queue_images, 1, 1_000_000)
        _between("request_images", self.request_images, 1, 1024)
        _between("link_s", self.link_s, 1, 10 * 365 * 86400)
        _between("largest_px", self.largest_px, 16, 8192)
        _between("body_bytes", self.body_bytes, 1024, 2**30)
        _between("prompt_characters", self.prompt_characters, 1, 4_000)
        _between("connections", self.connections, 1, 1_000_000)
        for name in ("timeout_s", "header_s", "body_s"):
            _between(name, getattr(self, name), 0.01, 3600)
        _between("drain_s", self.drain_s, 0, 600)
        if self.batch_images not in BATCH_SIZES:
            sizes = ", ".join(map(str, BATCH_SIZES))
            raise UserError(f"--batch_images={self.batch_images} must be one of {sizes}")
        if self.request_images > self.queue_images:
            raise UserError(
                f"--request_images={self.request_images} must not be above --queue_images={self.queue_images}: such a "
                f"request could never be taken"
            )
        for name in ("requests_per_minute", "images_per_minute"):
            _between(name, getattr(self, name), 0, 1_000_000)
        if 0 < self.images_per_minute < self.request_images:
            raise UserError(
                f"--images_per_minute={self.images_per_minute} must be 0, which is no limit, or at least "
                f"--request_images={self.request_images}"
            )
        if self.log_format not in ("json", "plain"):
            raise UserError(f"--log_format={self.log_format!r} must be 'json' or 'plain'")
        self._check_addresses()

    def _check_addresses(self) -> None:
        if not self.keys and not is_loopback(self.host):
            raise UserError(
                f"--host={self.host} lets other machines in, and then the server wants keys: make one with "
                f"`t2igan serve --new_key=NAME --keys=keys.txt`, and give --keys=keys.txt"
            )
        for origin in self.cors_origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.netloc
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise UserError(f"--cors_origins={origin!r} must look like https://pictures.example.org")
        if self.public_url and urlsplit(self.public_url).scheme not in ("http", "https"):
            raise UserError(f"--public_url={self.public_url!r} must look like https://pictures.example.org/gan")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that `Host` may have, without port; empty = any, since a key is asked for."""
        if self.keys and not self.allowed_hosts:
            return ()
        return (*LOCAL_NAMES, *(name.lower() for name in self.allowed_hosts))


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a server at that host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _between(name: str, value: float | int, least: float | int, most: float | int) -> None:
    if not least <= value <= most:
        raise UserError(f"--{name}={value} must lie between {least} and {most}")
