"""Shell completion: scripts for `completion SHELL`, and what `kubectl_complete-ekiben` answers.

The scripts and kubectl run that program with the words after `kubectl ekiben`, the last of them unfinished,
and read one candidate a line; then `:4` (no file names beside them) or `:0` (file names are welcome).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple

from ekiben.cli.words import COMMON, VERBS, Option, Verb

SHELLS = ("bash", "zsh", "fish")
_ANSWER = "kubectl_complete-ekiben"
_PATIENCE_SECONDS = 3.0

SCRIPTS = {
    "bash": f"""\
# Completion of kubectl-ekiben: source <(kubectl ekiben completion bash)
# For `kubectl ekiben` itself kubectl's own completion asks {_ANSWER}.
_kubectl_ekiben() {{
  local found
  found=$({_ANSWER} "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null | grep -v '^:')
  mapfile -t COMPREPLY < <(compgen -W "$found" -- "${{COMP_WORDS[COMP_CWORD]}}")
}}
complete -o default -F _kubectl_ekiben kubectl-ekiben
""",
    "zsh": f"""\
#compdef kubectl-ekiben
# Completion of kubectl-ekiben: source <(kubectl ekiben completion zsh)
_kubectl_ekiben() {{
  local -a found
  found=(${{(f)"$({_ANSWER} "${{(@)words[2,CURRENT]}}" 2>/dev/null)"}})
  found=(${{found:#:*}})
  if (( $#found )); then compadd -- $found; else _files; fi
}}
compdef _kubectl_ekiben kubectl-ekiben
""",
    "fish": f"""\
# Completion of kubectl-ekiben: kubectl ekiben completion fish | source
complete -c kubectl-ekiben -a "({_ANSWER} (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null \\
  | string match --invert ':*')"
""",
}


class Wanted(NamedTuple):
    """What may stand in the last word's place: known words, and a kind to look up in the cluster."""

    words: tuple[str, ...]
    kind: str = ""
    model: str = ""


def wanted(words: Sequence[str]) -> Wanted:
    """Tell what may stand where the last word is."""
    before, last = list(words[:-1]), words[-1] if words else ""
    verb, arguments, awaited = _read(before)
    if awaited:
        return _of(awaited, arguments)
    options = (*(verb.options if verb else ()), *COMMON)
    if last.startswith("-"):
        return Wanted((*(flag for option in options for flag in option.flags if flag[0] == "-"), "--help"))
    if verb is None:
        return Wanted(tuple(item.name for item in VERBS))
    places = [option for option in verb.options if not option.flags[0].startswith("-")]
    return _of(places[len(arguments)], arguments) if len(arguments) < len(places) else Wanted(())


def _of(option: Option, arguments: Sequence[str]) -> Wanted:
    choices = tuple(str(choice) for choice in option.settings.get("choices", ()))
    return Wanted(choices, option.completes, arguments[0] if arguments else "")


def _read(words: Sequence[str]) -> tuple[Verb | None, list[str], Option | None]:
    """Return the command, its arguments so far, and the option whose value is awaited."""
    verb: Verb | None = None
    arguments: list[str] = []
    awaited: Option | None = None
    for word in words:
        if awaited:
            awaited = None
        elif word.startswith("-"):
            options = (*(verb.options if verb else ()), *COMMON)
            found = next((item for item in options if word in item.flags), None)
            awaited = found if found and found.settings.get("action") in (None, "append") else None
        elif verb is None:
            verb = next((item for item in VERBS if item.name == word), None)
        else:
            arguments.append(word)
    return verb, arguments, awaited


def main() -> int:
    """Answer with candidates; whatever goes wrong, a shell wants to hear nothing of it."""
    words = sys.argv[1:]
    asked = wanted(words)
    found = list(asked.words)
    if asked.kind in ("models", "revisions"):
        try:
            found += asyncio.run(_look_up(asked, words))
        except Exception:
            found = found or []
    last = words[-1] if words else ""
    print(*(word for word in found if word.startswith(last)), sep="\n")
    print(":0" if asked.kind == "files" else ":4")
    return 0


async def _look_up(asked: Wanted, words: Sequence[str]) -> list[str]:
    # Most completions need no cluster, and a shell waits for each: the client is imported here alone.
    from ekiben.cli.cluster import Cluster  # noqa: PLC0415
    from ekiben.cli.history import records_of  # noqa: PLC0415

    async with asyncio.timeout(_PATIENCE_SECONDS):
        where = (
            _value(words, "--kubeconfig"),
            _value(words, "--context"),
            _value(words, "-n", "--namespace"),
        )
        async with Cluster.open(*where) as cluster:
            if asked.kind == "models":
                return [facts.name for facts in await cluster.models()]
            facts = await cluster.model(asked.model)
            return ["stable", *records_of(await cluster.records(facts))]


def _value(words: Sequence[str], *flags: str) -> str | None:
    for number, word in enumerate(words[:-1]):
        if word in flags:
            return words[number + 1]
        for flag in flags:
            if flag.startswith("--") and word.startswith(f"{flag}="):
                return word.partition("=")[2]
    return None


if __name__ == "__main__":
    sys.exit(main())
