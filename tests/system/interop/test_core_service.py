"""The unit for systemd: it is well-formed, its PIN command gives the credential's PIN, and the driver takes it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.emulator import EmulatorProcess, trust
from tests.system.interop.programs import MNEMONIC, PIN, ROOT, SIGNER, TIME_LIMIT, run_hwi

UNIT = ROOT / "examples" / "bitcoind-cryptnox.service"
PAGE = ROOT / "docs" / "bitcoin-core.md"


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not here")


def lines(name: str) -> list[str]:
    """The values of a setting of the unit."""
    text = re.sub(r"\\\n\s*", "", UNIT.read_text())
    return [value for key, _, value in (line.partition("=") for line in text.splitlines()) if key == name]


def environment() -> dict[str, str]:
    words = [word for line in lines("Environment") for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def test_it_is_well_formed(tmp_path: Path) -> None:
    needs("systemd-analyze")
    assert UNIT.read_text().count("/usr/bin/bitcoind ") == 1
    there = tmp_path / UNIT.name
    there.write_text(UNIT.read_text().replace("/usr/bin/bitcoind ", "/bin/true "))
    command = ["systemd-analyze", "verify", "--recursive-errors=no", str(there)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT)
    said = [line for line in run.stderr.splitlines() if UNIT.stem in line]
    assert said == [] and (run.returncode == 0 or "bitcoind" not in run.stderr), run.stderr
    there.write_text(there.read_text().replace("LoadCredentialEncrypted", "LoadCredentialsEncrypted"))
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT)
    assert "LoadCredentialsEncrypted" in run.stderr, "the judge judges"


def test_the_signer_line_is_one_that_core_can_start() -> None:
    """It splits at blanks, without a shell and without quotes."""
    (start,) = lines("ExecStart")
    (signer,) = [word.removeprefix("-signer=") for word in shlex.split(start) if word.startswith("-signer=")]
    program, *options = signer.split()
    assert Path(program).is_absolute() and options == ["--signer-mode"]
    assert program in PAGE.read_text() and not re.search(r"[\"'\\%$]", signer)


def test_no_secret_stands_in_it() -> None:
    assert set(environment()) == {"CRYPTNOX_PIN_COMMAND", "XDG_STATE_HOME", "XDG_CONFIG_HOME"}
    assert not re.search(r"\d{4}", re.sub(r"#.*|-m 644", "", "".join(environment().values())))


def test_names_agree() -> None:
    """Credential, folders and user are the same in the unit and in the page's commands."""
    page = PAGE.read_text()
    (credential,) = lines("LoadCredentialEncrypted")
    name, _, file = credential.partition(":")
    assert f"--name={name} - {file}\n" in page and environment()["CRYPTNOX_PIN_COMMAND"].endswith(f" {name}")
    (user,), (state,), (config,) = lines("User"), lines("StateDirectory"), lines("ConfigurationDirectory")
    assert f"sudo -u {user} env XDG_STATE_HOME=/var/lib/{state} " in page
    assert environment()["XDG_STATE_HOME"] == f"%S/{state}" and f"/etc/{config}/hwi-cryptnox/config.toml" in page
    assert environment()["XDG_CONFIG_HOME"] == f"%E/{config}"


@pytest.fixture
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as process:
        trust(process.path)
        yield process


def test_the_pin_command(card: EmulatorProcess, tmp_path: Path) -> None:
    """As systemd sets it up for a service: a folder that an environment variable names."""
    needs("systemd-creds")
    (tmp_path / "cryptnox-pin").write_text(PIN)
    (tmp_path / "cryptnox-pin").chmod(0o400)
    env = {"CRYPTNOX_PIN_COMMAND": environment()["CRYPTNOX_PIN_COMMAND"], "CREDENTIALS_DIRECTORY": str(tmp_path)}
    command = ["-t", "cryptnox", "-d", card.path, "getxpub", "m/84h/0h/0h"]
    assert run_hwi(command, environ=env)["xpub"].startswith("xpub")
    tries = card.stats()["pin_tries"]
    shutil.rmtree(tmp_path)
    answer = run_hwi(command, environ=env)
    assert answer["code"] == -6 and card.stats()["pin_tries"] == tries
    run = subprocess.run(
        [*SIGNER, "--signer-mode", "-t", "cryptnox", "-d", card.path, "getdescriptors"],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert (run.returncode == 1 and run.stdout == "") or "CRYPTNOX_PIN_COMMAND" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_the_file_would_be_refused(card: EmulatorProcess, tmp_path: Path) -> None:
    """The access list by which systemd lets a service read its credential shows as the group's rights."""
    file = tmp_path / "cryptnox-pin"
    file.write_text(PIN)
    file.chmod(0o440)
    answer = run_hwi(["-t", "cryptnox", "-d", card.path, "getmasterxpub"], environ={"CRYPTNOX_PIN_FILE": str(file)})
    assert "CRYPTNOX_PIN_FILE" in answer["error"] and answer["code"] == -6


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root: a key of this computer is made"
)
def test_the_credential_is_encrypted_and_comes_back(tmp_path: Path) -> None:
    """With the key in a file system of its own: nothing is left on this computer."""
    needs("systemd-creds")
    needs("unshare")
    (encrypt,) = re.findall(r"sudo (systemd-creds encrypt .*) - \S+$", PAGE.read_text(), re.MULTILINE)
    file = tmp_path / "cryptnox-pin"
    script = (
        "set -e; mount -t tmpfs tmpfs /var/lib/systemd\n"
        f"printf %s {PIN} | {encrypt} --with-key=host - {shlex.quote(str(file))}\n"
        f"systemd-creds decrypt --name=cryptnox-pin {shlex.quote(str(file))} -"
    )
    run = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=TIME_LIMIT)
    if run.returncode and "unshare" in run.stderr:
        pytest.skip(f"no file system of its own here: {run.stderr.strip()}")
    assert run.returncode == 0 and run.stdout == PIN, run.stderr
    assert PIN not in file.read_text()
