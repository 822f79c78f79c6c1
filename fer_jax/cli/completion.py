"""Completion of subcommands and flags in a shell.

source <(fer-jax completion bash)       # zsh: the same with zsh; in ~/.bashrc or ~/.zshrc to keep it
fer-jax completion fish > ~/.config/fish/completions/fer-jax.fish
"""

import sys

from absl import flags

from fer_jax import errors
from fer_jax.cli import COMMANDS, module_of

_BASH = """_fer_jax() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
  elif [ "${{word#-}}" != "$word" ]; then
    COMPREPLY=($(compgen -W "$(fer-jax completion flags "${{COMP_WORDS[1]}}" 2>/dev/null)" -- "$word"))
    type compopt >/dev/null 2>&1 && compopt -o nospace
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _fer_jax fer-jax
"""
_FISH = """complete -c fer-jax -n __fish_use_subcommand -f -a "{commands}"
complete -c fer-jax -n "not __fish_use_subcommand" -a "(fer-jax completion flags (commandline -opc)[2] 2>/dev/null)"
"""
SHELLS = {"bash": _BASH, "zsh": "autoload -U +X bashcompinit && bashcompinit\n" + _BASH, "fish": _FISH}

POSITIONAL = True


def script(shell: str) -> str:
    """Return the script for a shell; UserError for one that is not known."""
    if shell not in SHELLS:
        raise errors.UserError(f"completion for {shell!r} there is not: expected one of {', '.join(SHELLS)}")
    return SHELLS[shell].format(commands=" ".join(COMMANDS))


def flags_of(name: str) -> list[str]:
    """The flags of a subcommand, each as --name, or as --name= where it takes a value."""
    if name not in COMMANDS:
        return []
    libraries = set(flags.FLAGS)
    module_of(name)
    return [f"--{flag}{'' if flags.FLAGS[flag].boolean else '='}" for flag in sorted(set(flags.FLAGS) - libraries)]


def main(argv: list[str]) -> None:
    """Print the script, or with the word `flags` those of a subcommand."""
    if len(argv) == 3 and argv[1] == "flags":
        print(*flags_of(argv[2]), sep="\n")
        return
    if len(argv) != 2:
        raise errors.UserError(f"completion for which shell? Give one of {', '.join(SHELLS)}")
    sys.stdout.write(script(argv[1]))
