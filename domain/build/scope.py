"""What a stage knows while it is built: the image's settings, arguments, and what each instruction makes of them. Pure.

`Scope.after` turns one instruction into the scope after it, and into what is to be done to files, if anything: the
engine does that and decides nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from domain.build.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Words,
    Workdir,
)
from domain.build.lines import Heredoc
from domain.build.places import Misread
from domain.build.stages import PROXIES, Arguments, Plan, expanded
from domain.build.words import BadWord, Values, expand_body, expand_words
from domain.errors import InvalidValue
from domain.images import config
from domain.images.config import Settings, merged_env
from domain.text.safe import safe

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Execute:
    """A command to be carried out in the image: `env` is complete, `arguments` the names in it that are only arguments
    of the build, `proxies` those that count for nothing. `script` is a file to execute when a here-document names its
    own interpreter."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    arguments: tuple[str, ...]
    proxies: tuple[str, ...]
    workdir: str
    user: str
    network: str = ""
    mounts: tuple[Mapping[str, str], ...] = ()
    script: str = ""


@dataclass(frozen=True, slots=True)
class Bring:
    """Files to be put into the image: everything in words, nothing left to be replaced. `inline` are (name, content)
    of here-documents; `destination` is absolute, with a slash at its end if it was written so."""

    verb: str
    sources: tuple[str, ...]
    inline: tuple[tuple[str, str], ...]
    destination: str
    source: str = ""
    chown: str = ""
    chmod: str = ""
    parents: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None
    add: bool = False


@dataclass(frozen=True, slots=True)
class Enter:
    """A directory that must be there, and who owns it if it has to be made."""

    path: str
    user: str


Work = Execute | Bring | Enter


@dataclass(frozen=True, slots=True)
class Done:
    """One instruction: the scope after it, what is to be done to files, and what history says of it."""

    scope: "Scope"
    work: Work | None
    created_by: str
    author: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """`settings` is the configuration so far; `arguments` the build's own values that ENV has not taken over.
    `own_command` says that this file has a CMD, which an ENTRYPOINT then leaves alone."""

    settings: Settings
    arguments: Mapping[str, str] = field(default_factory=dict)
    own_command: bool = False
    author: str = ""
    used: frozenset[str] = frozenset()

    def after(self, instruction: Instruction, plan: Plan, given: Arguments) -> Done:
        """Raises: Misread."""
        try:
            return _Step(self, instruction, plan, given).done()
        except Misread:
            raise
        except BadWord as error:
            raise Misread(instruction.place, error.message) from error
        except InvalidValue as error:
            raise Misread(instruction.place, error.message, hint=error.hint) from error

    @property
    def values(self) -> dict[str, str]:
        """What variables mean here; the environment of the image beats arguments."""
        return {**self.arguments, **dict(item.partition("=")[::2] for item in self.settings.env)}


def begin(settings: Settings, arguments: Mapping[str, str] | None = None) -> Scope:
    """The scope of a stage on an image; on a stage it has that one's `arguments`, too.

    Other builders give a path to what has none, so `ENV PATH=$PATH:/opt/bin` must find one.
    """
    own = any(item.startswith("PATH=") for item in settings.env)
    env = settings.env if own else (DEFAULT_PATH, *settings.env)
    return Scope(replace(settings, on_build=(), env=env), dict(arguments or {}))


@dataclass
class _Step:
    scope: Scope
    instruction: Instruction
    plan: Plan
    given: Arguments
    values: Values = field(init=False)

    def __post_init__(self) -> None:
        self.values = Values(self.scope.values)

    def done(self) -> Done:
        settings = self.scope.settings
        match self.instruction:
            case Run() as run:
                return self._run(run)
            case Copy() as copy:
                return Done(self.scope, self._bring(copy), copy.text)
            case Workdir(path=path):
                return self._workdir(path)
            case Env(pairs=pairs):
                return self._env(pairs)
            case Arg(pairs=pairs):
                return self._arg(pairs)
            case Label(pairs=pairs):
                labels = dict(self._pairs(pairs))
                return self._settled(replace(settings, labels={**(settings.labels or {}), **labels}))
            case Maintainer(author=author):
                return Done(replace(self.scope, author=author), None, self._nop(), author)
            case Cmd(command=command):
                scope = replace(self.scope, settings=replace(settings, command=self._argv(command)), own_command=True)
                return Done(scope, None, self._nop())
            case Entrypoint(command=command):
                return self._entrypoint(command)
            case Shell(words=words):
                return self._settled(replace(settings, shell=words))
            case Expose(ports=ports):
                return self._settled(replace(settings, ports=tuple(sorted({*settings.ports, *self._ports(ports)}))))
            case Volume(paths=paths):
                found = {config.volume(self._absolute(self._word(path))) for path in paths}
                return self._settled(replace(settings, volumes=tuple(sorted({*settings.volumes, *found}))))
            case User(user=user):
                return self._settled(replace(settings, user=config.user(self._word(user))))
            case StopSignal(signal=signal):
                return self._settled(replace(settings, stop_signal=config.stop_signal(self._word(signal))))
            case Healthcheck(command=command, times=times):
                return self._settled(replace(settings, healthcheck=self._check(command, times)))
            case OnBuild(trigger=trigger):
                return self._settled(replace(settings, on_build=(*settings.on_build, trigger)))
        raise Misread(self.instruction.place, "this cannot stand in a stage")

    def _ports(self, texts: Iterable[str]) -> Iterable[str]:
        for text in texts:
            for word in expand_words(text, self.values, escape=self.plan.escape):
                yield from config.ports(word)

    def _settled(self, settings: Settings) -> Done:
        return Done(replace(self.scope, settings=settings), None, self._nop())

    def _nop(self) -> str:
        return f"/bin/sh -c #(nop)  {self.instruction.text}"

    def _word(self, text: str) -> str:
        return expanded(self.instruction, text, self.values, self.plan.escape)

    def _pairs(self, pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
        """All of them see the values from before the instruction."""
        for name, value in pairs:
            key = self._word(name)
            if not key or "\0" in key:
                raise Misread(self.instruction.place, "names can not be blank")
            yield key, self._word(value)

    def _env(self, pairs: Iterable[tuple[str, str]]) -> Done:
        found = dict(self._pairs(pairs))
        wrong = next((name for name in found if "=" in name), None)
        if wrong is not None:
            raise Misread(self.instruction.place, f"a variable cannot be called {safe(wrong)[:100]}")
        env = merged_env(self.scope.settings.env, (f"{name}={value}" for name, value in found.items()))
        arguments = {name: value for name, value in self.scope.arguments.items() if name not in found}
        scope = replace(self.scope, settings=replace(self.scope.settings, env=env), arguments=arguments)
        return Done(scope, None, self._nop())

    def _arg(self, pairs: Iterable[tuple[str, str | None]]) -> Done:
        """Given on the command line, else the default, else what was said before the first FROM, else predefined."""
        arguments = dict(self.scope.arguments)
        for name, default in pairs:
            name = self._word(name)
            value = self.given.given.get(name)
            if value is None and default is not None:
                known = Values({**arguments, **dict(item.partition("=")[::2] for item in self.scope.settings.env)})
                value = expanded(self.instruction, default, known, self.plan.escape)
            if value is None:
                value = self.plan.globals.get(name)
            if value is None:
                value = self.given.platform.get(name)
            if value is not None:
                arguments[name] = value
        in_env = {item.partition("=")[0] for item in self.scope.settings.env}
        kept = {name: value for name, value in arguments.items() if name not in in_env}
        return Done(replace(self.scope, arguments=kept), None, self._nop())

    def _entrypoint(self, command: Words) -> Done:
        settings = replace(self.scope.settings, entrypoint=self._argv(command))
        if not self.scope.own_command:
            settings = replace(settings, command=None)  # it was meant for another entrypoint
        return self._settled(settings)

    def _argv(self, command: Words) -> tuple[str, ...] | None:
        if command.exec:
            return command.words or None
        return (*self._shell(), command.words[0]) if command.words else None

    def _shell(self) -> tuple[str, ...]:
        return self.scope.settings.shell or DEFAULT_SHELL

    def _check(self, command: Words | None, times: Mapping[str, int]) -> Mapping[str, Any]:
        if command is None:
            return {"Test": ["NONE"]}
        test = ["CMD", *command.words] if command.exec else ["CMD-SHELL", command.words[0]]
        return {"Test": test, **{name: value for name, value in times.items() if value}}

    def _workdir(self, text: str) -> Done:
        word = self._word(text)
        if not word:
            raise Misread(self.instruction.place, "WORKDIR needs a path (is a variable unset?)")
        path = config.workdir(self._absolute(word))
        scope = replace(self.scope, settings=replace(self.scope.settings, workdir=path))
        return Done(scope, Enter(path, scope.settings.user), self._nop())

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.scope.settings.workdir or ''}/{path}"

    def _run(self, run: Run) -> Done:
        proxies = {name: value for name, value in self.given.given.items()
                   if name in PROXIES and name not in self.scope.arguments and name not in self.scope.values}
        arguments = dict(self.scope.arguments)
        argv, script = self._script(run)
        own = [f"{name}={value}" for name, value in {**proxies, **arguments}.items()]
        env = merged_env((DEFAULT_PATH, *own), self.scope.settings.env)
        work = Execute(
            argv=argv,
            env=env,
            arguments=tuple(name for name in arguments if name not in PROXIES),
            proxies=tuple({*proxies, *(name for name in arguments if name in PROXIES)}),
            workdir=self.scope.settings.workdir or "/",
            user=self.scope.settings.user,
            network=run.network,
            mounts=tuple(self._mount(dict(mount.options)) for mount in run.mounts),
            script=script,
        )
        told = {name: value for name, value in arguments.items() if name not in PROXIES}
        before = f"|{len(told)} " + " ".join(f"{n}={v}" for n, v in sorted(told.items())) + " " if told else ""
        return Done(self.scope, work, before + " ".join(argv if not script else (*self._shell(), run.text[4:])))

    def _script(self, run: Run) -> tuple[tuple[str, ...], str]:
        """The argument vector; and a file to execute, when a here-document alone names its interpreter."""
        if run.command.exec:
            return run.command.words, ""
        text = run.command.words[0]
        if not run.heredocs:
            return (*self._shell(), text), ""
        only = run.heredocs[0]
        if len(run.heredocs) == 1 and "<<" in text and len(text.split()) == 1 and text.startswith("<<"):
            content = only.content
            return ((), content) if content.startswith("#!") else ((*self._shell(), content), "")
        bodies = "".join(f"\n{heredoc.text}{heredoc.name}" for heredoc in run.heredocs)
        return (*self._shell(), f"{text}{bodies}\n"), ""

    def _mount(self, options: dict[str, str]) -> Mapping[str, str]:
        expandable = ("target", "source", "from", "id", "uid", "gid", "mode", "size")
        return {"type": "bind"} | {
            name: self._word(value) if name in expandable else value for name, value in options.items()
        }

    def _bring(self, copy: Copy) -> Bring:
        sources: list[str] = []
        inline: list[tuple[str, str]] = []
        bodies = list(copy.heredocs)
        for text in copy.sources:
            if text.startswith("<<") and bodies:
                inline.append(self._body(bodies.pop(0)))
            else:
                sources.append(self._word(text))
        destination = self._word(copy.destination)
        if not destination or any(not source for source in sources):
            raise Misread(copy.place, f"{copy.verb}: an empty path (is a variable unset?)")
        if copy.add and copy.source:
            raise Misread(copy.place, "ADD knows no --from: say COPY --from")
        return Bring(
            verb=copy.verb,
            sources=tuple(sources),
            inline=tuple(inline),
            destination=_destination(destination, self.scope.settings.workdir),
            source=self._word(copy.source),
            chown=self._word(copy.chown),
            chmod=self._word(copy.chmod),
            parents=copy.parents,
            exclude=tuple(map(self._word, copy.exclude)),
            checksum=self._word(copy.checksum),
            keep_git_dir=copy.keep_git_dir,
            unpack=copy.unpack,
            add=copy.add,
        )

    def _body(self, heredoc: Heredoc) -> tuple[str, str]:
        if not heredoc.expands:
            return heredoc.name, heredoc.content
        return heredoc.name, expand_body(heredoc.content, self.values)


def _destination(text: str, workdir: str) -> str:
    """Absolute and clean, with a slash at its end where that was meant: a directory."""
    directory = text.endswith(("/", "/.")) or text in (".", "..")
    whole = text if text.startswith("/") else f"{workdir or ''}/{text}"
    path = config.absolute(whole, "destination")
    return path + "/" if directory and path != "/" else path


def history_entry(created: str, created_by: str, *, empty: bool, author: str = "") -> dict[str, Any]:
    """One line of an image's history."""
    entry: dict[str, Any] = {"created": created, "created_by": created_by}
    if author:
        entry["author"] = author
    return entry | ({"empty_layer": True} if empty else {})


def triggers(settings: Settings) -> Sequence[str]:
    """What an image wants to be done first in a build on it."""
    return settings.on_build
