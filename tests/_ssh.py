"""An access point on this machine: a real sshd on loopback, whose sessions have a home and folders of their
own."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import pytest

from _engines import find_sshd
from _waiting import until
from wingspan.pools.ssh_connection import close_all

__all__ = ["AccessPoint", "access_point", "ap", "one_access_point"]


@attrs.frozen
class AccessPoint:
    """A machine that this one reaches through SSH, under the name ``ap``.

    Attributes:
        folder: Holds what belongs to it.
        sshd: The server's program.
    """

    folder: Path
    sshd: str

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    def start(self) -> None:
        """Have it take connections."""
        words = [self.sshd, "-f", str(self.folder / "sshd_config"), "-E", str(self.folder / "log")]
        subprocess.run([*self._with_a_user(), *words], check=True)
        until((self.folder / "pid").exists, "sshd has written its number")

    def _with_a_user(self) -> list[str]:
        """Root's sshd wants a user of that name, which is there where it was installed, and not where it was
        only unpacked: then it sees another /etc/passwd.
        """
        with contextlib.suppress(KeyError):
            if os.geteuid() or pwd.getpwnam("sshd"):
                return []
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
            pytest.skip("no sshd that was installed, and no mount namespaces")
        users = self.folder / "passwd"
        users.write_text(Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/bin/false\n")
        return ["unshare", "--mount", "sh", "-c", f'mount --bind {users} /etc/passwd && exec "$@"', "sh"]

    def stop(self) -> None:
        """End it, and all connections."""
        pid = int((self.folder / "pid").read_text())
        self.break_connections()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        until(lambda: not (self.folder / "pid").exists(), "sshd has ended")

    def break_connections(self) -> None:
        """End all connections at once: both ends hear of it."""
        self._signal_connections(signal.SIGKILL)

    def silence_connections(self) -> None:
        """Let nothing through any connection that there is, in either direction, as a network does that is
        gone: no end hears of it.
        """
        self._signal_connections(signal.SIGSTOP)

    def _signal_connections(self, number: int) -> None:
        pid = int((self.folder / "pid").read_text())
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)

    def config_of_client(self) -> str:
        """What a client's ``config.toml`` says of it."""
        return f'[ssh.ap]\nconfig = "{self.folder}/ssh_config"\n'


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def access_point(folder: Path, environment: Mapping[str, str]) -> Iterator[AccessPoint]:
    """An access point as long as the block lasts.

    Args:
        folder: For what belongs to it.
        environment: Variables of its sessions.
    """
    sshd = find_sshd()
    if sshd is None or shutil.which("ssh") is None:
        pytest.skip("no sshd: python tools/engines/openssh.py")
    for name in ("home", "data", "config"):
        (folder / name).mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = _free_port()
    variables = {
        "HOME": folder / "home",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "WINGSPAN_DATA_DIR": folder / "data",
        "WINGSPAN_CACHE_DIR": folder / "cache",
        "WINGSPAN_CONFIG_DIR": folder / "config",
        **environment,
    }
    words = " ".join(f'"{name}={value}"' for name, value in variables.items())
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile {folder}/pid\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nUsePAM no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nPermitRootLogin yes\nSetEnv {words}\n"
    )
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "ssh_config").write_text(
        f"Host ap\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n"
    )
    made = AccessPoint(folder, sshd)
    close_all()  # connections to another one of this name
    made.start()
    try:
        yield made
    finally:
        close_all()
        made.stop()


@pytest.fixture(scope="module")
def one_access_point(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessPoint]:
    """An access point with a `local` pool, for all tests of a file."""
    with access_point(tmp_path_factory.mktemp("ap"), {"WINGSPAN_POOL": "local"}) as made:
        yield made


@pytest.fixture
def ap(one_access_point: AccessPoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AccessPoint:
    """The access point, and a laptop that knows it."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.toml").write_text(one_access_point.config_of_client())
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    return one_access_point
