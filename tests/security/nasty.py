"""Hostile inputs for every way into the engine: words, command lines of every verb, requests as JSON, archives.

Whatever verbs, options and requests there are is read from the engine's own tables, so that a new one is attacked from
the day on which it exists.
"""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from domain.options import Option
from workers.commands import VERBS as WISHES
from workers.commands import Question, Wish
from workers.console.commands import NOUNS, VERBS
from workers.console.verb import Verb

ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\r\n\u202egnp\x85\u2028"
NAMES = ("resting", "running", "busybox", "keep", "nosuch")
NASTY = (
    "", " ", "-", "--", "-1", "0", "1", "4294967296", "9223372036854775808", "-9223372036854775809", "1e308", "NaN",
    "0x10", "1" * 5000, "١٢", "true", "null", "[]", "{}", '{"a":', "a", "A=1", "=", "=x", "a=b=c", "a,b", ":", "::",
    "a:b:c:d", "/", "//", ".", "..", "../../../etc/passwd", "/etc/passwd", "/proc/self/exe", "/proc/1/root",
    "/dev/null", "/dev/zero", "~", "$HOME", "`id`", "$(id)", "%s%n", "{{.}}", "{{", "{{json .}}", "{{range .}}{{.}}",
    "}}", "*", "?", "a\nb", "a\x01b", "\t", "\x7f", ESCAPES, "\ufeff", "\ud800", "\udcff", "é", "漢", "😀", "x" * 300,
    "a/b", "a:latest", "a@sha256:" + "0" * 64, "sha256:" + "f" * 64, "localhost:99999/a", "A/B:c", "10s", "1h", "-5m",
    "9999999h", "64m", "1.5g", "-1b", "1e9g", "999999999999t", "SIGKILL", "RTMIN+99", "root:root:root",
    "65536:4294967295", "' OR 1=1; --", "%", "_", "all", "ALL", "host", "container:nosuch", "container:resting",
    "none", "private",
)
"""Words that have been somebody's undoing."""
FORMS = {
    "volume": ("/a", "a:/b", "/etc:/b:ro", "/:/host:ro", "a:b", ":/b", "/x:", "../x:/b", "a:/b:zz", "a:/proc",
        "a:/proc/1", "/etc/passwd:/etc/passwd:ro", "a:/b:ro,rw", "a:/../..", "a\nb:/c", "a:/b\nc", "/proc:/p",
        "/sys:/s:rslave"),
    "mount": ("type=bind,src=/etc,dst=/x,ro", "type=volume,dst=/v", "type=tmpfs,dst=/t,tmpfs-size=1e9", "type=bind",
        "dst=/x", "type=x,dst=/y", "type=bind,src=/nosuch,dst=/x", "type=volume,src=../x,dst=/v", 'type="bind', "=",
        "type=volume,src=v,dst=/v,volume-subpath=../..", "type=tmpfs,dst=/proc", "type=bind,src=/,dst=/,ro",
        "type=npipe,src=a,dst=/b", "type=bind,src=/etc,dst=/x,bind-propagation=rshared,bind-nonrecursive"),
    "device": ("/dev/null", "/dev/null:/dev/x:rwm", "/dev/null:/dev/x:q", "/nosuch", "/etc", "/dev/null:x", "::",
        "/dev", "/dev/null:/proc/x", "/dev/null:/../x:r"),
    "device-cgroup-rule": ("c 1:3 rwm", "a *:* rwm", "b 8:* r", "c 1:3", "c 99999999:1 r", "c 1:3 rwm\na *:* rwm"),
    "sysctl": ("net.ipv4.ip_forward=1", "kernel.core_pattern=|/x", "net/../../kernel/x=1",
        "kernel.shm_rmid_forced=1+kernel", "fs.mqueue.msg_max=a", "net.=1", ".=.", "kernel.msgmax",
        "net.ipv4.tcp_fin_timeout=1\n2"),
    "ulimit": ("nofile=1:2", "nofile=2:1", "x=1", "core=-1", "nproc=1e9", "nofile=99999999999999999999",
        "nofile=1:2:3"),
    "security-opt": ("seccomp=unconfined", "seccomp=/nosuch", "seccomp=profile", "no-new-privileges", "apparmor=x",
        "label=x", "no-new-privileges:maybe", "systempaths=unconfined", "seccomp", "a=b"),
    "seccomp": ("unconfined", "{}", '{"defaultAction":"SCMP_ACT_ALLOW"}', '{"defaultAction":"SCMP_ACT_ERRNO"}',
        "[" * 9999,
        '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{}]}]}'),
    "cap-add": ("ALL", "CAP_SYS_ADMIN", "net_raw", "CAP_", "CAP_X", "ALL,CAP_CHOWN"),
    "cap-drop": ("ALL", "chown", "x"),
    "memory": ("6m", "1", "-1", "64m", "1e3", "9e99g"),
    "cpus": ("0.5", "-1", "1e9", "nan", "inf", "0.0000000001"),
    "cpuset-cpus": ("0", "0-1", "0-", "1-0", "1-9223372036854775807", "a", "0,0,0"),
    "tmpfs": ("/t", "/t:size=1m", "/t:exec,bad"),
    "cpuset-mems": ("0", "1-9223372036854775807", "0-"),
    "device-read-bps": ("/dev/null:1mb", "/dev/vda:1mb", "/dev/vda:-1", "/nosuch:1", "/dev/vda:1\n2", "8:0:1", ":1"),
    "blkio-weight-device": ("/dev/vda:500", "/dev/null:500", "/etc:1", "/dev/vda:1e9"),
    "pids-limit": ("-1", "0", "1", "9" * 30),
    "userns": ("host", "remap", "x"),
    "pid": ("host", "container:running"),
    "group-add": ("wheel", "4294967296", "-1", "a:b"),
    "volumes-from": ("resting", "resting:ro", "nosuch", ":ro", "resting:zz"),
    "env": ("A", "A=\n", "=x", "A=" + "x" * 5000),
    "format": ("{{pad .ID 2000000000 2000000000}}", '{{printf "%2000000000d" 1}}', "{{if .ID}}", "table", "raw",
        "{{slice .ID 5 1}}", "{{index .Labels 1 2 3}}", "{{((((.ID))))}}", "{{json (json .)}}", "{{truncate .ID -1}}"),
    "filter": ("name=^(a+)+$b", "name=x", "status=running", "label=a=b", "label!=a", "until=1h", "since=nosuch", "x=y",
        "name=[", "name=(", "="),
    "change": ("CMD [", "ENV A", "LABEL a=b", "VOLUME /x", "USER 1:1", "EXPOSE 99999", "ENTRYPOINT {}", "X y",
        "STOPSIGNAL 99"),
    "opt": ("type=tmpfs", "device=tmpfs", "o=size=1m", "type=nfs", "o=addr=1.2.3.4", "device=/etc", "o=bind", "x"),
}
"""The same for the values of single options."""
FOLLOWING = {"attach", "events", "logs", "stats", "wait", "run", "exec", "start", "stop", "restart", "top"}
"""Verbs that may go on for as long as something else does."""
_BINARY = st.binary(max_size=30).map(lambda data: data.replace(b"\0", b"\x01").decode("utf-8", "surrogateescape"))
_TEXT = st.text(max_size=20).map(lambda text: text.replace("\0", "\x01"))

words = st.one_of(st.sampled_from(NAMES), st.sampled_from(NASTY), _TEXT, _BINARY)
"""Anything that can stand in a command line."""


def _value(option: Option) -> st.SearchStrategy[str]:
    forms = FORMS.get(option.name, ())
    return st.one_of(st.sampled_from(forms), words) if forms else words


@st.composite
def _option(draw: st.DrawFn, options: Sequence[Option]) -> list[str]:
    option = draw(st.sampled_from(list(options)))
    if not option.takes_value:
        return [f"--{option.name}" + draw(st.sampled_from(["", "", "=true", "=false", "=x"]))]
    value = draw(_value(option))
    if option.short and draw(st.booleans()):
        return [f"-{option.short}", value]
    return [f"--{option.name}={value}"] if draw(st.booleans()) else [f"--{option.name}", value]


def _spellings() -> dict[tuple[str, ...], Verb]:
    found = {(name,): verb for name, verb in VERBS.items()}
    return found | {(noun, name): verb for noun, (_, verbs, _) in NOUNS.items() for name, verb in verbs.items()}


SPELLINGS = _spellings()


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[bytes, ...]:
    """`run --memory=-1 -v a:/proc busybox true`: a verb, some of its options, some arguments."""
    spelling = draw(st.sampled_from(list(SPELLINGS)))
    verb = SPELLINGS[spelling]
    given = draw(st.lists(_option(verb.options), max_size=4)) if verb.options else []
    plain = draw(st.lists(words, max_size=3))
    line = [*spelling, *(word for option in given for word in option)]
    if spelling[-1] in ("run", "create") and draw(st.integers(0, 3)):
        plain = ["busybox", draw(st.sampled_from(["true", "/none", *NASTY[:20]]))]
        line += ["-d"] if spelling[-1] == "run" else []
    elif spelling[-1] not in ("run", "create") and draw(st.integers(0, 2)):
        plain = [draw(st.sampled_from(NAMES)), *plain[:max(0, verb.least - 1)]]
    return tuple(_encoded_word(word) for word in (*line, *plain))


def _encoded_word(word: str) -> bytes:
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return word.encode("utf-8", "surrogatepass")


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words)
_FLAT = _SCALARS | st.lists(_SCALARS, max_size=3) | st.dictionaries(words, _SCALARS, max_size=3)
junk = _FLAT | st.lists(_FLAT, max_size=3) | st.dictionaries(words, _FLAT, max_size=3)
"""Any JSON at all."""


def fitting(schema: Mapping[str, Any], root: Mapping[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """JSON that mostly has the shape which the schema demands, with hostile values in it."""
    if "$ref" in schema:
        return fitting(root["$defs"][schema["$ref"].rpartition("/")[2]], root, name)
    if "anyOf" in schema:
        return st.one_of([fitting(one, root, name) for one in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]]) | words
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        return _object(schema, root)
    if kind == "object":
        return st.dictionaries(words, fitting(schema.get("additionalProperties") or {}, root, name), max_size=2)
    if kind == "array":
        return st.lists(fitting(schema.get("items") or {}, root, name), max_size=2)
    forms = [form for option, some in FORMS.items() if option.replace("-", "_") in name for form in some]
    plain: dict[Any, st.SearchStrategy[Any]] = {
        "integer": st.sampled_from([0, 1, -1, 2**31, 2**63, -2**63, 10**30]), "boolean": st.booleans(),
        "number": st.sampled_from([0.0, -1.0, 1e308, 0.1]),
        "string": st.sampled_from(forms) | words if forms else words,
        "null": st.none()}
    return plain.get(kind, junk)


@st.composite
def _object(draw: st.DrawFn, schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema["properties"]
    chosen = {*schema.get("required", ()), *draw(st.lists(st.sampled_from(list(properties)), max_size=4))}
    found = {name: draw(fitting(properties[name], root, name)) for name in sorted(chosen)}
    return found | ({draw(words): draw(junk)} if draw(st.integers(0, 15)) == 0 else {})


_WISH, _QUESTION = Wish.model_json_schema(), Question.model_json_schema()
_CONTAINER = st.sampled_from(["resting", "running", "nosuch", ""])


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """Subject and payload: a wish or a question that a program has put together wrongly, or an attacker rightly."""
    if draw(st.integers(0, 4)) == 0:
        view = draw(st.sampled_from(["containers", "images", "refs", "past", "history", "events", "nosuch"]))
        document = draw(st.one_of(fitting(_QUESTION, _QUESTION), junk))
        return f"lading.@.q.@.{view}", _encoded(document)
    verb = draw(st.sampled_from(["create", "create", "create", "run", "exec", "commit", "wait", "nosuch", *WISHES]))
    document = draw(fitting(_WISH, _WISH) if draw(st.integers(0, 7)) else junk)
    if isinstance(document, dict) and draw(st.integers(0, 3)):
        document["container"] = draw(_CONTAINER)
        if verb in ("create", "run"):
            request = draw(fitting(_WISH["$defs"]["CreateRequest"], _WISH))
            document = {"request": request | {"image": "busybox", "command": ["true"], "log": {}, "tty": False}}
    return f"lading.@.cmd.@.{verb}", _encoded(document)


def _encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


frames = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda subject, inbox, size, rest: f"PUB {subject} {inbox} {size}\r\n".encode() + rest,
              st.sampled_from(["lading.@.call.@", "lading.@.cmd.@.create", "lading.@.io.@.1", "a.>", "*", "lading..x"]),
              st.sampled_from(["_INBOX.@.1", "", "x", "_INBOX.>"]),
              st.sampled_from(["0", "-1", "5", "a", "9" * 30, "1048577"]), st.binary(max_size=50)),
    st.lists(words, max_size=6).map(lambda some: b"PUB lading.@.call.@ _INBOX.@.1 %d\r\n%b\r\n" % (
        len(text := "\0".join(some).encode("utf-8", "replace")), text)),
)
"""What a client's connection may carry instead of frames."""


@st.composite
def _tarballs(draw: st.DrawFn, wholesome: Mapping[str, bytes] = {}, most: int = 5) -> bytes:
    """Strange entries between the wholesome ones."""
    kinds = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
             tarfile.FIFOTYPE, b"9"]
    names = st.sampled_from(["a", "a/b", "../x", "/etc/x", "..", ".", "", "a/../../x", "x" * 300, "proc", "dev",
                             "etc/passwd", ".wh.a", ".wh..wh..opq", ".wh...", "manifest.json", "index.json",
                             "oci-layout", "config.json", "layer.tar", "a/" * 400 + "b", "a\nb", ESCAPES, "\udcff"])
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in wholesome.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for _ in range(draw(st.integers(0, most))):
            member = tarfile.TarInfo(draw(names))
            member.type, member.linkname = draw(st.sampled_from(kinds)), draw(names)
            member.mode = draw(st.sampled_from([0o755, 0o7777, 0]))
            member.uid = draw(st.sampled_from([0, 65534, 2**21]))
            member.devmajor, member.devminor = draw(st.sampled_from([(1, 3), (8, 0), (0, 0)]))
            member.pax_headers = draw(st.dictionaries(
                st.sampled_from(["path", "linkpath", "size", "mtime", "uid", "SCHILY.xattr.trusted.overlay.opaque",
                                 "SCHILY.xattr.user.overlay.whiteout", "GNU.sparse.map", "GNU.sparse.major", "x"]),
                st.sampled_from(["y", "../z", "-1", "9" * 40, "/etc/z", "1,2,3"]), max_size=2))
            data = draw(st.sampled_from([b"", b"x", b"y" * 600])) if member.isreg() else b""
            if member.name.endswith(".json") and member.isreg():
                data = json.dumps(draw(junk)).encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A root file system or an image as `import` and `load` take it: strange entries, and some bytes changed."""
    changed = bytearray(draw(_tarballs()))
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        changed[draw(st.integers(0, min(len(changed), 3000) - 1))] = draw(st.integers(0, 255))
    return bytes(changed[:draw(st.sampled_from([len(changed), len(changed), 700]))])


INSTRUCTIONS = (
    "FROM {}", "FROM {} AS {}", "FROM scratch", "ARG {}", "ARG A={}", "ENV {}", "ENV A={} B=$A", "ENV A=${{A:-{}}}",
    "LABEL {}", "WORKDIR {}", "USER {}", "VOLUME {}", "VOLUME [{}]", "EXPOSE {}", "STOPSIGNAL {}", "SHELL [{}]",
    "SHELL {}", "CMD {}", "ENTRYPOINT [{}]", "HEALTHCHECK {}", "HEALTHCHECK --interval={} CMD true", "ONBUILD {}",
    "ONBUILD COPY {} {}", "COPY {} {}", "COPY {} /", "COPY . {}", "COPY * .", "COPY --from={} {} {}",
    "COPY --chown={} a b", "COPY --chmod={} a b", "COPY --parents {} /", "COPY --exclude={} . /x",
    "COPY <<{} /x\ny\nE", "ADD {} {}", "ADD {} /", "ADD --checksum={} a b", "RUN true", "RUN exit 3",
    'RUN ["true", {}]', "RUN <<E\ntrue\nE", "RUN <<{}\ntrue", "RUN --mount={} true",
    "RUN --mount=type=bind,source={},target=/x true", "RUN --mount=type=cache,id={},target=/x true",
    "RUN --mount=type=secret,id={} true", "RUN --mount=type=tmpfs,target={} true", "RUN --network={} true", "{}",
    "{} {}", "# escape={}", "# syntax={}",
)
"""Lines of a Dockerfile, with places for words."""


class Context(bytes):
    """An archive that shows what is to be built."""

    dockerfile = b""

    def __repr__(self) -> str:
        return f"a context with {self.dockerfile[:500]!r}"


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    """What `build -` takes: a Dockerfile of strange lines, or of strange bytes, among strange entries."""
    lines = ["FROM busybox"] if draw(st.integers(0, 5)) else []
    for form in draw(st.lists(st.sampled_from(INSTRUCTIONS), max_size=4)):
        lines.append(form.format(*draw(st.lists(words, min_size=3, max_size=3))))
    dockerfile = _encoded_word("\n".join(lines)) if draw(st.integers(0, 15)) else draw(st.binary(max_size=200))
    wholesome = {"Dockerfile": dockerfile, "a": b"x"}
    if draw(st.booleans()):
        wholesome[".dockerignore"] = _encoded_word("\n".join(draw(st.lists(words, max_size=3))))
    context = Context(draw(_tarballs(wholesome, draw(st.sampled_from([0, 0, 1, 5])))))
    context.dockerfile = dockerfile
    return context
