# Shell functions shared by the programs in this directory. POSIX sh; read with `.`, never run.
#
# set_up makes what the project needs and says what it does:
#   - Debian packages that are missing (asked of apt-get only then, with root or sudo);
#   - a virtual environment in .venv with the project (editable), its tests and its tools.
# Afterwards $VENV/bin/python works, and $MISSING holds one line for everything that could not be had.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
VENV=$ROOT/.venv
STAMP=$VENV/.set-up-done
MISSING=''
COMPILER=''  # not empty: install what pyscard is compiled with

say() {
    printf '%s\n' "-- $*"
}

miss() {
    MISSING="${MISSING}${MISSING:+
}$*"
    printf '%s\n' "-- MISSING: $*" >&2
}

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Whether commands can be run as root: directly, or by sudo (which may ask for a password only at a terminal).
have_root() {
    [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# install_packages NAME...: 0 when all of them are there afterwards.
install_packages() {
    if ! command -v apt-get >/dev/null 2>&1; then
        say "no apt-get here; wanted (Debian's names): $*"
        return 1
    fi
    if ! have_root; then
        say "not root, and no sudo. As root, run: apt-get install $*"
        return 1
    fi
    say "installing with apt-get: $*"
    if as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >/dev/null; then
        return 0
    fi
    say "apt-get could not install them; its message stands above. Wanted: $*"
    return 1
}

python_version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

supported() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# Sets INTERPRETER: $PYTHON when given, else the first of the usual names that is Python 3.10 or later.
find_interpreter() {
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" || die "PYTHON=$PYTHON is not a Python of version 3.10 or later."
        INTERPRETER=$PYTHON
        return
    fi
    for INTERPRETER in python3 python3.11 python3.12 python3.13 python3.14 python3.10 /usr/bin/python3; do
        if supported "$INTERPRETER"; then
            return
        fi
    done
    die "Python 3.10 or later is needed (Debian: apt-get install python3 python3-venv). PYTHON=... names one."
}

have_file() {
    for file in "$@"; do
        if [ -e "$file" ]; then
            return 0
        fi
    done
    return 1
}

have_pcsc_headers() {
    have_file /usr/include/PCSC/winscard.h /usr/local/include/PCSC/winscard.h
}

have_python_headers() {
    have_file "$("$INTERPRETER" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"
}

have_virtual_reader() {
    have_file /usr/lib/pcsc/drivers/serial/libifdvpcd.so
}

# The dialogues of PIN sources, for their tests.
have_pinentries() {
    command -v pinentry-curses >/dev/null 2>&1 && command -v pinentry-tty >/dev/null 2>&1
}

have_pcscd() {
    command -v pcscd >/dev/null 2>&1 || have_file /usr/sbin/pcscd
}

# A token of PKCS#11 in a folder, for the tests of keys that approve signatures.
have_softhsm() {
    have_file /usr/lib/softhsm/libsofthsm2.so && command -v softhsm2-util >/dev/null 2>&1
}

# What pyscard is compiled with.
can_compile() {
    have_pcsc_headers && have_python_headers && command -v gcc >/dev/null 2>&1 && command -v pkg-config >/dev/null 2>&1
}

system_packages() {
    wanted=''
    "$INTERPRETER" -c 'import ensurepip, venv' 2>/dev/null || wanted="$wanted python$(python_version "$INTERPRETER")-venv"
    if [ -n "$COMPILER" ] && ! "$VENV/bin/python" -c 'import smartcard.scard' 2>/dev/null; then
        have_pcsc_headers || wanted="$wanted libpcsclite-dev"
        have_python_headers || wanted="$wanted python$(python_version "$INTERPRETER")-dev"
        command -v pkg-config >/dev/null 2>&1 || wanted="$wanted pkg-config"
        # libc6-dev: gcc alone brings no headers when recommended packages are left out.
        command -v gcc >/dev/null 2>&1 && have_file /usr/include/stdio.h || wanted="$wanted gcc libc6-dev"
    fi
    have_pcscd || wanted="$wanted pcscd"
    have_virtual_reader || wanted="$wanted vsmartcard-vpcd"
    have_pinentries || wanted="$wanted pinentry-curses pinentry-tty"
    have_softhsm || wanted="$wanted softhsm2"
    # shellcheck disable=SC2086  # one word for each package
    [ -z "$wanted" ] || install_packages $wanted || :

    "$INTERPRETER" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$INTERPRETER cannot make virtual environments: install python$(python_version "$INTERPRETER")-venv, or name another by PYTHON=..."
    have_pcscd && have_virtual_reader ||
        miss "pcscd and the virtual reader (packages pcscd, vsmartcard-vpcd): tests through PC/SC are left out"
    have_pinentries ||
        miss "pinentry-curses and pinentry-tty (packages of these names): tests of their dialogues are left out"
    have_softhsm || miss "SoftHSM (package softhsm2): it is unpacked from Debian's archive, or tests with tokens are left out"
}

# The project's definition and the interpreter: when these are as they were, nothing is installed again.
fingerprint() {
    { cat "$ROOT/pyproject.toml" && "$INTERPRETER" -c 'import sys; print(sys.version)' && printf '%s\n' "$1"; } | sha256sum
}

pip_install() {
    "$VENV/bin/python" -m pip install --quiet --quiet --disable-pip-version-check "$@"
}

virtual_environment() {
    if [ -x "$VENV/bin/python" ] && supported "$VENV/bin/python" &&
        { [ -z "${PYTHON:-}" ] || [ "$(python_version "$PYTHON")" = "$(python_version "$VENV/bin/python")" ]; }; then
        :
    else
        say "making a virtual environment in .venv with $INTERPRETER ($(python_version "$INTERPRETER"))"
        "$INTERPRETER" -m venv --clear "$VENV" || die "The virtual environment could not be made."
    fi

    extras=test,dev,docs
    if can_compile || "$VENV/bin/python" -c 'import smartcard.scard' 2>/dev/null ||
        pip_install --only-binary :all: pyscard 2>/dev/null; then
        extras=$extras,test-pyscard
    else
        miss "pyscard (compiled with packages libpcsclite-dev, python3-dev, pkg-config, gcc, which --all installs): only our own binding of pcsc-lite is tested, and nothing with the vendor's SDK"
    fi

    if [ "$(cat "$STAMP" 2>/dev/null)" = "$(fingerprint "$extras")" ]; then
        return
    fi
    say "installing the project, its tests and tools into .venv (the first time takes a few minutes)"
    pip_install -e "$ROOT[$extras]" || die "pip could not install the project; its message stands above."
    fingerprint "$extras" >"$STAMP"
}

set_up() {
    find_interpreter
    system_packages
    virtual_environment
}
