r"""`.dockerignore`: which files of a directory belong to the context of a build.

    # a line that begins with # is a comment
    node_modules            a name at the top, with all that is below it
    **/*.pyc                ** is any number of directories
    docs/*.md               * and ? stop at a slash
    !docs/README.md         is in again; the last line that fits decides

Patterns hold from the top of the context on, whether they begin with a slash or not. The thin client uses this module:
nothing but the language.
"""

from domain.build.patterns import Class, Wrong, edges, matches, may_hold, names


class Rule:
    """One line: `number` counts from 1, `text` is as it was written, `keeps` if it began with `!`."""

    __slots__ = ("begin", "end", "keeps", "literal", "number", "pattern", "text")

    def __init__(self, number: int, text: str) -> None:
        self.number, self.text = number, text
        self.keeps = text.startswith("!")
        body = _clean(text[1:].strip() if self.keeps else text)
        try:
            self.pattern: tuple[str | Class, ...] = names(body)
        except Wrong as error:
            raise Wrong(f"line {number}: {text}: {error}") from None
        self.begin, self.end = edges(self.pattern)
        self.literal = body if not any(c in body for c in "*?[\\") else ""

    def fits(self, path: str) -> bool:
        """Whether it is about exactly this path."""
        if self.literal:
            return path == self.literal
        return path.startswith(self.begin) and path.endswith(self.end) and matches(self.pattern, path)

    def may_fit_below(self, directory: str) -> bool:
        """Whether it could be about something in this directory."""
        if self.literal:
            return self.literal.startswith(directory + "/")
        return may_hold(self.pattern, directory)


class Rules:
    """All lines of one file. Raises: Wrong for a pattern that cannot be meant."""

    def __init__(self, text: str) -> None:
        self.rules: list[Rule] = []
        lines = text.removeprefix("\ufeff").split("\n")
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\r")
            if line.startswith("#"):
                continue
            line = line.strip()
            if line and _clean(line.removeprefix("!").strip()) not in ("", "."):
                self.rules.append(Rule(number, line))
        self._verdicts: dict[str, Rule | None] = {"": None}

    def verdict(self, path: str) -> "Rule | None":
        """The last line that is about the path, or about a directory that it is in; None: nothing is said of it."""
        if not self.rules:
            return None
        parent = path.rpartition("/")[0]
        if parent not in self._verdicts:
            self._verdicts[parent] = self.verdict(parent)
        found = self._verdicts[parent]
        for rule in reversed(self.rules):
            if found is not None and rule.number < found.number:
                break
            if rule.fits(path):
                return rule
        return found

    def hides(self, path: str) -> bool:
        """Whether the path is not a part of the context."""
        if not self.rules:
            return False
        found = self.verdict(path)
        return found is not None and not found.keeps

    def hides_all(self, directory: str) -> bool:
        """Whether nothing in this directory can be a part of the context either."""
        found = self.verdict(directory)
        if found is None or found.keeps:
            return False
        return not any(
            rule.keeps and rule.number > found.number and rule.may_fit_below(directory) for rule in self.rules
        )


def _clean(pattern: str) -> str:
    """Without a slash at its ends, and without `.`, `..` and empty components."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
