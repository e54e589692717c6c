"""What an installation takes along, and what is built: bounds, lock, licenses, versions, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 900
SUITE_LIMIT = 2400
"""Seconds for a command, and for the suite."""


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, **options)  # type: ignore[call-overload]


def dependencies(*options: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "scripts" / "_dependencies.py", *options)


def test_bounds_lock_and_licenses(request: pytest.FixtureRequest) -> None:
    done = dependencies()
    assert done.returncode == 0, done.stdout + done.stderr
    left_out = [line for line in done.stdout.splitlines() if line.startswith("LEFT OUT: ")]
    assert len(left_out) == 1, "tomli, or pyscard on Linux, is never there"
    request.node.user_properties.append(("table", ["licenses", *left_out]))


@pytest.mark.parametrize(
    ("marker", "row", "said"),
    [
        ("<", "| nobody-has-this | MIT | permissive | hwi-cryptnox |\n", "LEFT OUT: .* nobody-has-this, "),
        ("<", "", "nobody-has-this: license '' is not known"),
        (">=", "| nobody-has-this | MIT | permissive | hwi-cryptnox |\n", "is not installed: its license cannot be"),
    ],
)
def test_a_license_that_cannot_be_looked_up(marker: str, row: str, said: str, tmp_path: Path) -> None:
    """It is the page's where the marker leaves a distribution out here; where it does not, that is an error."""
    for name in ("pyproject.toml", "requirements.lock", "docs/licenses.md", "scripts/_dependencies.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    lock, page, project = (tmp_path / name for name in ("requirements.lock", "docs/licenses.md", "pyproject.toml"))
    marker = f'python_version {marker} "3"'
    lock.write_text(f"{lock.read_text()}nobody-has-this==1.0 ; {marker} \\\n    --hash=sha256:{'0' * 64}\n")
    page.write_text(re.sub(r"^(?=\| noiseprotocol )", row, page.read_text(), flags=re.MULTILINE))
    first = "dependencies = [\n"
    project.write_text(project.read_text().replace(first, f"{first}    'nobody-has-this>=1,<2; {marker}',\n", 1))
    done = run(sys.executable, tmp_path / "scripts" / "_dependencies.py")
    assert (done.returncode == 0) is said.startswith("LEFT OUT") and re.search(said, done.stdout), done.stdout


def test_a_dependency_outside_the_lock_is_noticed(tmp_path: Path) -> None:
    """The lock pins what pyproject.toml admits, each with hashes, and everything that these bring along."""
    names = ("pyproject.toml", "requirements.lock", "docs/licenses.md", "scripts/_dependencies.py")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    lock = tmp_path / "requirements.lock"
    good = lock.read_text()
    hwi, cffi = (re.search(rf"^{name}==.*?(?=^[a-z])", good, re.MULTILINE | re.DOTALL) for name in ("hwi", "cffi"))
    assert hwi and cffi
    for changed, said in (
        (good.replace(hwi[0], "hwi==4.0.0 --hash=sha256:" + "0" * 64 + "\n"), "hwi 4.0.0 is not within <4,>=3.1"),
        (good.replace(hwi[0], hwi[0].splitlines()[0].rstrip(" \\") + "\n"), "hwi has no hash"),
        (good.replace(hwi[0], ""), "hwi is missing"),
        (good.replace(cffi[0], ""), "cffi is missing: "),
    ):
        lock.write_text(changed)
        done = run(sys.executable, tmp_path / "scripts" / "_dependencies.py")
        assert done.returncode == 1 and f"requirements.lock: {said}" in done.stdout, done.stdout + done.stderr


ADVISORY = {
    "id": "GHSA-wj6h-64fc-37mp",
    "summary": "Minerva timing attack on P-256 in python-ecdsa",
    "aliases": ["CVE-2024-23342"],
    "modified": "2024-11-18T16:26:27Z",
    "published": "2024-01-22T21:35:17Z",
    "schema_version": "1.6.0",
    "affected": [
        {
            "package": {"name": "ecdsa", "ecosystem": "PyPI", "purl": "pkg:pypi/ecdsa"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
        }
    ],
}
"""A record of OSV's, as its service answers."""
MENDED = {
    **ADVISORY,
    "id": "GHSA-0000-0000-0000",
    "aliases": ["CVE-0000-0000"],
    "affected": [
        {
            "package": {"name": "click", "ecosystem": "PyPI", "purl": "pkg:pypi/click"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.1"}]}],
        }
    ],
}


def found(name: str, version: str, *advisories: dict[str, object]) -> dict[str, object]:
    """One distribution in pip-audit's report."""
    flaws = [{"id": each["id"], "aliases": each["aliases"], "fix_versions": []} for each in advisories]
    return {"name": name, "version": version, "vulns": flaws}


CLEAN, ACCEPTED, WRONG = found("rich", "15.0.0"), found("ecdsa", "0.19.2", ADVISORY), found("click", "8.5.1", MENDED)
SKIPPED = {"name": "cffi", "skip_reason": "Dependency not found on PyPI and could not be audited: cffi (2.1.1)"}


@pytest.mark.parametrize(
    ("report", "status", "said"),
    [
        ([CLEAN], 0, "1 of 1 distributions were looked up"),
        ([CLEAN, ACCEPTED], 0, "ecdsa 0.19.2: CVE-2024-23342, GHSA-wj6h-64fc-37mp; accepted: "),
        ([ACCEPTED, WRONG, SKIPPED], 1, "click 8.5.1: CVE-0000-0000, GHSA-0000-0000-0000; no release mends it"),
        ([CLEAN, SKIPPED], 3, "LEFT OUT: known vulnerabilities of cffi "),
        ([], 3, "0 of 0"),
        (None, 3, "LEFT OUT: known vulnerabilities (pip-audit could not ask its service)"),
    ],
)
def test_what_pip_audit_reports_is_judged(report: list[object] | None, status: int, said: str, tmp_path: Path) -> None:
    """An accepted vulnerability is named and passes; what could not be looked up is not taken for clean."""
    path = tmp_path / "report"
    if report is not None:
        path.write_text(json.dumps({"dependencies": report, "fixes": []}))
    done = dependencies("--audited", str(path))
    assert (done.returncode, done.stderr) == (status, "") and said in done.stdout


@pytest.fixture
def osv() -> Iterator[str]:
    """The address of a service that knows two advisories, in the form of OSV's."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]
            known = [each for each in (ADVISORY, MENDED) if each["affected"][0]["package"]["name"] == asked["name"]]
            body = json.dumps({"vulns": known} if known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - the base class' name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
def test_known_vulnerabilities_are_looked_up(osv: str) -> None:
    """pip-audit reads the service's answers; a service that is not there is said to be."""
    check = ("sh", ROOT / "scripts" / "check-dependencies", "--vulnerability-service", "osv", "--osv-url")
    done = run(*check, "http://127.0.0.1:1/v1/query")
    if "pip-audit cannot be installed" in done.stdout:
        pytest.skip("pip-audit cannot be installed")
    assert done.returncode == 3 and "LEFT OUT: known vulnerabilities (pip-audit" in done.stdout, done.stdout
    done = run(*check, osv)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^click [\d.]+: CVE-0000-0000, GHSA-0000-0000-0000; mended in 999.1$", done.stdout, re.MULTILINE)
    assert re.search(r"^ecdsa [\d.]+: CVE-2024-23342, GHSA-wj6h-64fc-37mp; accepted: ", done.stdout, re.MULTILINE)
    assert re.search(r"^(\d+) of \1 distributions were looked up$", done.stdout, re.MULTILINE)


def test_the_lock_names_no_place() -> None:
    """Where the files come from is the installer's choice; the hashes say what they are."""
    assert "://" not in (ROOT / "requirements.lock").read_text()


def environment(python: str | Path, folder: Path, *requirements: str) -> Path:
    """The interpreter of a fresh environment with this project, its tests and more; skips where it cannot be had."""
    run(python, "-m", "venv", folder)
    made = folder / "bin" / "python"
    done = run(made, "-m", "pip", "install", "--quiet", "-e", f"{ROOT}[test]", *requirements)
    if done.returncode:
        reason = f"no environment: {done.stderr.strip().splitlines()[-1:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return made


def check_suite(python: Path, *paths: str, workers: int = 2) -> list[str]:
    """The default suite, or some of it, with another environment, without the readers and without this file (the lock
    and its licenses are those of the newest versions); what it left out, and its closing line."""
    command = [python, "-m", "pytest", "-n", str(workers), "--dist", "loadgroup", "-p", "no:cacheprovider"]
    chosen = ["-m", "not pcsc and not heavy", "--ignore", Path(__file__).relative_to(ROOT), "-rf", *paths]
    done = subprocess.run(
        [*command, *chosen], cwd=ROOT, capture_output=True, text=True, timeout=SUITE_LIMIT, check=False
    )
    lines = done.stdout.strip().splitlines()
    assert done.returncode == 0, "\n".join(lines[-80:])
    return [*(line for line in lines if "skipped:" in line), lines[-1]]


USERS_OF_LIBRARIES = (
    "tests/core/test_bip32.py",
    "tests/core/test_certificate.py",
    "tests/core/test_secp256k1.py",
    "tests/core/test_secure_channel.py",
    "tests/ctl/test_address.py",
    "tests/ctl/test_combine.py",
    "tests/ctl/test_finalize.py",
    "tests/ctl/test_qr.py",
    "tests/ctl/test_audit.py",
    "tests/ctl/test_backup.py",
    "tests/ctl/test_data.py",
    "tests/ctl/test_descriptors.py",
    "tests/ctl/test_doctor.py",
    "tests/ctl/test_export.py",
    "tests/ctl/test_hwi.py",
    "tests/ctl/test_info.py",
    "tests/ctl/test_list.py",
    "tests/ctl/test_main.py",
    "tests/ctl/test_message.py",
    "tests/ctl/test_pairing.py",
    "tests/ctl/test_pin.py",
    "tests/ctl/test_pinless.py",
    "tests/ctl/test_puk.py",
    "tests/ctl/test_relay.py",
    "tests/ctl/test_reset.py",
    "tests/ctl/test_sign.py",
    "tests/ctl/test_user_key.py",
    "tests/ctl/test_verify.py",
    "tests/ctl/test_xpub.py",
    "tests/ctl/test_pieces.py",
    "tests/export",
    "tests/hwi/test_commands.py",
    "tests/plugin/test_client.py",
    "tests/psbt/test_oracles.py",
    "tests/psbt/test_signing.py",
)
"""Tests of the code that calls what pyproject.toml names."""


class Lowest(NamedTuple):
    python: Path
    versions: list[str]


@pytest.fixture(scope="module")
def lowest(tmp_path_factory: pytest.TempPathFactory) -> Lowest:
    """An environment with the lowest versions that pyproject.toml admits; the default run has the newest."""
    wanted = dependencies("--lowest").stdout.splitlines()
    assert any(line.startswith("cryptography==") for line in wanted)
    python = environment(sys.executable, tmp_path_factory.mktemp("lowest") / "venv", *wanted)
    named = re.compile(r"(hwi|embit|cryptography|coincurve|click|rich|pyscard|segno)==")
    return Lowest(
        python, [line for line in run(python, "-m", "pip", "freeze").stdout.splitlines() if named.match(line)]
    )


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
@pytest.mark.xdist_group("lowest")
def test_lowest_versions(lowest: Lowest, request: pytest.FixtureRequest) -> None:
    rows = check_suite(lowest.python, *USERS_OF_LIBRARIES, workers=0)
    request.node.user_properties.append(("table", ["lowest versions", *lowest.versions, *rows]))


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT + SUITE_LIMIT)
@pytest.mark.xdist_group("lowest")
def test_lowest_versions_in_all_tests(lowest: Lowest, request: pytest.FixtureRequest) -> None:
    rows = check_suite(lowest.python)
    request.node.user_properties.append(("table", ["lowest versions, all tests", *lowest.versions, *rows]))


VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


@pytest.mark.parametrize(("version", "supported"), [("3, 9", False), ("3, 10", True), ("3, 14", True), ("4, 0", True)])
def test_which_pythons_the_scripts_take(version: str, supported: bool, tmp_path: Path) -> None:
    """Any from 3.10 on, without an upper bound."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = ({version}); $2"\n')
    python.chmod(0o755)
    shell = f". {ROOT / 'scripts/_setup.sh'}; supported {python}"
    assert (subprocess.run(["sh", "-c", shell, str(ROOT / "scripts/test")], check=False).returncode == 0) is supported


def interpreter(version: str) -> str:
    """A Python of that version on this machine: on PATH, or pyenv's; skips where there is none."""
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    places = [
        shutil.which(f"python{version}"),
        *map(str, sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))),
    ]
    for place in places:
        if place and run(place, "-c", asked).stdout.strip() == version:
            return place
    pytest.skip(f"Python {version} is not on this machine")


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT + SUITE_LIMIT)
@pytest.mark.parametrize("version", [it for it in VERSIONS if it != f"3.{sys.version_info.minor}"])
def test_other_pythons(version: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    made = environment(interpreter(version), tmp_path / "venv")
    request.node.user_properties.append(("table", [f"Python {version}", *check_suite(made)]))


def build(folder: Path) -> dict[str, str]:
    """Wheel and source distribution of the last commit; their hashes."""
    (folder / "tmp").mkdir(parents=True)
    env = {**os.environ, "TMPDIR": str(folder / "tmp")}
    done = run(sys.executable, ROOT / "scripts" / "_build.py", folder / "dist", env=env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "dist").iterdir()}


def check_contents(wheel: Path, source: Path) -> None:
    """All of the packages that git knows, the license, the manual page, what pip needs; nothing else."""
    known = run("git", "-C", ROOT, "ls-tree", "-r", "--name-only", "HEAD", "cryptnox_core", "hwilib_cryptnox").stdout
    packages = set(known.split())
    assert {"cryptnox_core/py.typed", "hwilib_cryptnox/py.typed"} <= packages
    base = source.name.removesuffix(".tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        others = set(archive.namelist()) - packages
        assert packages <= set(archive.namelist())
    about = ("licenses/LICENSE", "METADATA", "WHEEL", "entry_points.txt", "top_level.txt", "RECORD")
    manual = f"{base}.data/data/share/man/man1/cryptnoxctl.1"
    assert others == {manual, *(f"{base}.dist-info/{name}" for name in about)}
    with tarfile.open(source) as archive:
        members = {member.name.removeprefix(f"{base}/") for member in archive if member.isfile()}
    made = {"PKG-INFO", *(name for name in members if name.startswith("hwi_cryptnox.egg-info/"))}
    top = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "SECURITY.md", "pyproject.toml", "requirements.lock"}
    assert members == packages | made | top | {"setup.cfg", "docs/cryptnoxctl.1"}


@pytest.mark.heavy
def test_two_builds_are_the_same(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """In two places, one after the other, with another umask."""
    first = build(tmp_path / "one")
    before = os.umask(0o077)
    try:
        second = build(tmp_path / "another/place")
    finally:
        os.umask(before)
    assert first == second and len(first) == 2
    # What the source distribution alone builds, with the times its files have, is that wheel.
    [source] = (tmp_path / "one/dist").glob("*.tar.gz")
    [wheel] = (tmp_path / "one/dist").glob("*.whl")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [unpacked] = (tmp_path / "source").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        generator = archive.read(f"{unpacked.name}.dist-info/WHEEL").decode()
    backend = re.search(r"^Generator: setuptools \((.*)\)$", generator, re.MULTILINE)
    assert backend
    (tmp_path / "constraint").write_text(f"setuptools=={backend[1]}\n")
    epoch = str(int((unpacked / "pyproject.toml").stat().st_mtime))
    env = {**os.environ, "SOURCE_DATE_EPOCH": epoch, "PIP_CONSTRAINT": str(tmp_path / "constraint")}
    done = run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "again", unpacked, env=env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()
    check_contents(wheel, source)
    request.node.user_properties.append(
        ("table", ["reproducible builds", *(f"{sha} {name}" for name, sha in first.items())])
    )


@pytest.mark.heavy
@pytest.mark.parametrize("version", VERSIONS)
def test_locked_installation(version: str, tmp_path: Path) -> None:
    """As docs/versions.md says; with what the demonstration judges by, all of it holds."""
    run(interpreter(version), "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    judges = ["--no-deps", *(line for line in extra_test() if line.startswith(("bdkpython", "py-bitcoinkernel")))]
    for words in (["--require-hashes", "-r", str(ROOT / "requirements.lock")], ["--no-deps", str(ROOT)], judges):
        done = run(python, "-m", "pip", "install", "--quiet", *words)
        assert done.returncode == 0, done.stderr
    done = run(python, "-m", "pip", "check")
    assert done.returncode == 0, done.stdout
    said = run(tmp_path / "venv" / "bin" / "hwi-cryptnox", "--version").stdout
    assert said.startswith("hwi 3."), said
    done = run(python, ROOT / "scripts" / "demo.py", cwd=tmp_path)
    assert done.returncode == 0 and "All of it held." in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the last commit."""
    folder = tmp_path_factory.mktemp("wheel")
    build(folder)
    [made] = (folder / "dist").glob("*.whl")
    return made


COMPILERS = ("cc", "c89", "c99", "gcc", "g++", "c++", "clang", "clang++", "x86_64-linux-gnu-gcc", "cargo", "rustc")


@pytest.mark.heavy
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_without_a_compiler(version: str, wheel: Path, tmp_path: Path) -> None:
    """With the newest of everything, and compilers that only note that they were wanted. The demonstration's judges are
    elsewhere: its card is listed, asked for keys and signs by what was installed."""
    noted, compilers = tmp_path / "wanted", tmp_path / "compilers"
    compilers.mkdir()
    for name in COMPILERS:
        # pip tells the index the version of rustc, where there is one.
        unless = f'[ "{name} $*" = "rustc --version" ]'
        (compilers / name).write_text(f'#!/bin/sh\n{unless} || echo {name} "$@" >>{noted}\nexit 1\n')
        (compilers / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{compilers}:{os.environ['PATH']}", "CC": str(compilers / "cc")}
    run(interpreter(version), "-m", "venv", tmp_path / "venv")
    programs = tmp_path / "venv" / "bin"
    done = run(programs / "python", "-m", "pip", "install", "--quiet", wheel, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not noted.exists(), noted.read_text()
    done = run(programs / "python", "-m", "pip", "check")
    assert done.returncode == 0, done.stdout
    done = run(sys.executable, ROOT / "scripts" / "demo.py", "--programs", programs, cwd=tmp_path)
    assert done.returncode == 0 and "All of it held." in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert all(f" {command}" in done.stdout for command in ("enumerate", "getxpub", "signtx"))


def extra_test() -> list[str]:
    """The requirements of the extra `test`."""
    wanted = metadata.requires("hwi-cryptnox") or []
    return [str(line).partition(";")[0].strip() for line in wanted if "test" in line.partition(";")[2]]


def test_the_documentation_builds(tmp_path: Path) -> None:
    """Without a warning: every page in the navigation, every link leads somewhere."""
    for name in ("sphinx", "myst_parser", "furo", "sphinx_copybutton"):
        pytest.importorskip(name, reason=f"{name} is not installed (pip install -e .[docs], Python 3.11 or later)")
    site = tmp_path / "site"
    done = run(
        sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "kept", "docs", site, cwd=ROOT
    )
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    pages = {path.name: path.read_text() for path in site.glob("*.html")}
    assert {"index.html", "install.html", "api.html", "promises.html", "search.html"} <= set(pages)
    # Nothing is loaded from elsewhere, and a search finds what people look for.
    loaded = re.compile(r"<(?:script|link|img)[^>]*(?:src|href)=\"(?:https?:)?//")
    assert not [name for name, page in pages.items() if loaded.search(page)]
    index = (site / "searchindex.js").read_text()
    for word in ("uninstal", "firmwar", "passphras"):
        assert f'"{word}"' in index or f",{word}:" in index or f"{{{word}:" in index, word
