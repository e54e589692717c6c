"""The one-file binary on a fresh Debian that has pcscd and no Python: its programs, and a card in the virtual reader,
which the binary emulates itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hwilib_cryptnox.psbt import Psbt
from tests.psbt.factory import ME, Draft, draft, spend
from tests.psbt.signing import check_on_kernel
from tests.support.emulator import PIN, PUK, SEED
from tests.system.fresh import System, fresh

LIMIT = 1800
SERIAL = 7108776947887105570
FINGERPRINT = ME.fingerprint.hex()
HERE = Path("/srv/work")
DRAFTS: dict[str, Draft] = {name: draft(*(spend(name, index) for index in range(2))) for name in ("p2wpkh", "rawtr")}

SCENE = """
set -u
try() { name=$1; shift; "$@" >out/$name 2>out/$name.err; echo $? >out/$name.status; }
wait_for() {
    n=0
    until eval "$1"; do n=$((n + 1)); [ $n -lt 300 ] || { echo "in vain: $1"; exit 9; }; sleep 0.2; done
}
mkdir out
# It asks polkit over D-Bus, and where there is none it lets nobody in.
set -- --foreground
pcscd --help 2>&1 | grep -q disable-polkit && set -- "$@" --disable-polkit
pcscd "$@" >out/pcscd 2>&1 &
wait_for 'grep -q ":8C7B 00000000:0000 0A" /proc/net/tcp'  # the virtual reader: port 35963
cryptnoxctl emulator --vpcd 127.0.0.1:35963 --seed SEED --serial SERIAL --xpub-export --pin PIN --puk PUK \\
    >out/emulator 2>&1 &
wait_for 'hwi-cryptnox enumerate | grep -q cryptnox'
# Nobody says that an emulated card is genuine: it gets the PIN that is typed, and is known from then on.
echo PIN >stdin
try xpub hwi-cryptnox --stdinpass -t cryptnox getxpub m/84h/0h/0h <stdin
export CRYPTNOX_PIN=PIN
try enumerate hwi-cryptnox enumerate
try core hwi-cryptnox --signer-mode --fingerprint FINGERPRINT getdescriptors --account 0
try refused hwi-cryptnox --signer-mode --fingerprint 00000000 getdescriptors --account 0
printf 'signtx %s\\n' "$(cat p2wpkh.psbt)" >stdin
try signtx hwi-cryptnox --signer-mode --stdin --fingerprint FINGERPRINT <stdin
try as-hwi hwi --version
try list cryptnoxctl list --json
try qr cryptnoxctl address --qr-file address.png
unset CRYPTNOX_PIN
echo PIN >stdin
try sign cryptnoxctl sign --yes --stdinpass --output signed.psbt rawtr.psbt <stdin
try wrong cryptnoxctl pin verify --stdinpass </dev/null
try doctor cryptnoxctl doctor --json
"""


@dataclass(frozen=True)
class Played:
    """What the programs left in a system."""

    folder: Path

    def status(self, name: str) -> int:
        return int((self.folder / "out" / f"{name}.status").read_text())

    def said(self, name: str) -> str:
        """What it wrote to stdout."""
        return (self.folder / "out" / name).read_text()

    def errors(self, name: str) -> str:
        return (self.folder / "out" / f"{name}.err").read_text()

    def answer(self, name: str) -> Any:
        """The first line, which is JSON."""
        assert self.status(name) == 0, self.said(name) + self.errors(name)
        return json.loads(self.said(name).split("\n")[0])


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def system(request: pytest.FixtureRequest, binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    root = tmp_path_factory.mktemp(f"{request.param}-alone") / "root"
    made = fresh(request.param, root, HERE)
    # By apt, when the system is there: what pcscd brings along cannot all be set up by debootstrap.
    install = "apt-get -q update && apt-get -q -y --no-install-recommends install pcscd vsmartcard-vpcd"
    done = made.run("env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", install)
    assert done.returncode == 0, done.stdout[-2000:]
    [built] = (binary / "built").iterdir()
    for name in ("hwi-cryptnox", "cryptnoxctl", "hwi"):
        shutil.copy(built, root / "usr/local/bin" / name)
    yield made
    shutil.rmtree(root)


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
@pytest.mark.xdist_group("binary")
def test_in_a_system_without_python(system: System, request: pytest.FixtureRequest) -> None:
    """HWI's command line, signer mode, `cryptnoxctl sign`, through pcscd."""
    assert not list(system.root.glob("usr/bin/python*")) and not list(system.root.glob("usr/lib/**/libpython*"))
    folder = system.root / HERE.relative_to("/")
    for name, made in DRAFTS.items():
        (folder / f"{name}.psbt").write_text(made.base64())
    words = {"SEED": SEED, "SERIAL": str(SERIAL), "FINGERPRINT": FINGERPRINT, "PIN": PIN, "PUK": PUK}
    scene = SCENE.replace("CRYPTNOX_PIN", "CRYPTNOX_@")
    for word, value in words.items():
        scene = scene.replace(word, value)
    (folder / "scene").write_text(scene.replace("CRYPTNOX_@", "CRYPTNOX_PIN"))
    done = system.run("sh", "scene", network=False)
    played = Played(folder)
    assert done.returncode == 0, done.stdout + played.said("pcscd")[-2000:] + played.said("emulator")

    [card] = played.answer("enumerate")
    assert (card["type"], card["path"], card["fingerprint"]) == ("cryptnox", f"cryptnox:{SERIAL}", FINGERPRINT)
    assert played.answer("xpub")["xpub"].startswith("xpub")
    assert len(played.answer("core")["receive"]) >= 3
    assert played.status("refused") == 1 and played.errors("refused").count("\n") == 1
    signed = played.answer("signtx")
    assert signed["signed"] is True
    check_on_kernel(Psbt.parse(signed["psbt"]), DRAFTS["p2wpkh"])
    assert played.said("as-hwi").startswith("hwi 3.") and played.status("list") == 0
    assert str(SERIAL) in played.said("list")
    assert played.status("qr") == 0, played.errors("qr")
    assert (folder / "address.png").read_bytes().startswith(b"\x89PNG")
    assert played.status("sign") == 0, played.errors("sign")
    check_on_kernel(Psbt.parse((folder / "signed.psbt").read_bytes().strip()), DRAFTS["rawtr"])
    assert played.status("wrong") != 0 and "Traceback" not in played.errors("wrong")
    found = {each["check"]: each["finding"] for each in json.loads(played.said("doctor"))["findings"]}
    assert "one-file binary" in found["versions"], found
    request.node.user_properties.append(
        ("table", [f"the binary on Debian {system.suite}, pcscd and no Python", *map(": ".join, found.items())])
    )
