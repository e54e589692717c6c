"""The scripts by which a shell asks what it may complete. What a word means is said by `values`."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete, add_completion_class

_BASH = """\
%(complete_func)s() {
    local kind value word="${COMP_WORDS[COMP_CWORD]}"
    local IFS=$'\\n'
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            file) compopt -o default ;;
            plain)
                # Inside of quotation marks bash wants it as it is.
                [[ $word == [\\"\\']* ]] || value=$(printf %%q "$value")
                COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" %(complete_var)s=bash_complete "$1")
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Names with blanks are quoted."""

    source_template = _BASH

    def source(self) -> str:
        """Without looking for a bash: the script may be written elsewhere than it is used."""
        return ShellComplete.source(self)


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete}


def register() -> None:
    """Let click use our way for bash."""
    add_completion_class(_Bash, "bash")


def source(shell: str, root: click.Command, program: str, variable: str) -> str:
    """The script that a shell reads once."""
    return SHELLS[shell](root, {}, program, variable).source()
