"""Implement ``payctl completion``, which prints a shell's completion script."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypedDict

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Raw, Result


class Shell(StrEnum):
    """A shell that has a completion script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


_BASH = """
_payctl_completion() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        if [[ $word == / ]]; then
            compopt +o default 2>/dev/null
        elif [[ -n $word ]]; then
            COMPREPLY+=("$word")
        fi
    done < <(_TYPER_COMPLETE_ARGS="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        _PAYCTL_NO_FILES=/ _PAYCTL_COMPLETE=complete_bash "$1" 2>/dev/null)
    return 0
}
complete -o default -F _payctl_completion payctl
"""

_ZSH = r"""
#compdef payctl
_payctl() {
  local line word tab=$'\t'
  local -a described
  for line in "${(@f)$(_TYPER_COMPLETE_ARGS="${(j: :)words[1,CURRENT]}" \
      _PAYCTL_NO_FILES=/ _PAYCTL_COMPLETE=complete_zsh-lines payctl 2>/dev/null)}"; do
    [[ $line == / ]] && return 1
    [[ -n $line ]] || continue
    word=${${line%%$tab*}//:/\\:}
    [[ $line == *$tab* ]] && word+=":${line#*$tab}"
    described+=("$word")
  done
  if (( $#described )); then
    _describe -V payctl described
  else
    _files
  fi
}
if [[ $funcstack[1] == _payctl ]]; then
  _payctl "$@"
else
  compdef _payctl payctl
fi
"""

_FISH = r"""
function __payctl_complete
    set -l found (_TYPER_COMPLETE_ARGS=(commandline -cp | string collect) \
        _PAYCTL_NO_FILES=/ _PAYCTL_COMPLETE=complete_fish payctl 2>/dev/null | string match -v '')
    if test "$found" = /
        return
    else if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command payctl --no-files --keep-order --arguments '(__payctl_complete)'
"""

_SCRIPTS = {Shell.BASH: _BASH, Shell.ZSH: _ZSH, Shell.FISH: _FISH}
"""The completion script for each shell. A script asks payctl for matching words.

If payctl returns no words, the script offers file names. If the user is not completing a file name, payctl returns /,
and the script offers nothing.
"""


class CompletionFacts(TypedDict):
    """A completion script."""

    shell: str
    """The shell's name."""
    script: str
    """The completion script."""


def completion_command(
    ctx: typer.Context, shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell.")]
) -> None:
    """Print a shell's completion script.

    To turn on completion in every new shell, write the script to a file once.

    \b
    For bash:
      mkdir -p ~/.local/share/bash-completion/completions
      payctl completion bash > ~/.local/share/bash-completion/completions/payctl

    \b
    For zsh:
      payctl completion zsh > "${fpath[1]}/_payctl"

    \b
    For fish:
      mkdir -p ~/.config/fish/completions
      payctl completion fish > ~/.config/fish/completions/payctl.fish
    """  # noqa: D301 - the help keeps the lines below this character as they are
    script = _SCRIPTS[shell].strip()
    facts: CompletionFacts = {"shell": shell.value, "script": script}
    Session.of(ctx).finish(Result("payctl.completion/1", result=facts, human=[Raw(script)]))
