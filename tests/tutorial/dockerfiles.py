"""Dockerfiles with their contexts, and what the reference says comes of them: each feature once, then combinations.

Expected values were derived from the reference of the Dockerfile format by hand; none was taken from a run of ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MODE = "stat -c '%a %u:%g %n'"
"""A command that prints mode, owner and name."""


@dataclass(frozen=True)
class Case:
    """`files` maps paths of the context to content, `->target`, or (mode, content); `shows` maps commands to what they
    print in a container of the image; `config` holds keys of the image's configuration."""

    name: str
    dockerfile: str
    files: Mapping[str, object] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    shows: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


TREE: Mapping[str, object] = {
    "a.txt": "a\n",
    "b.txt": "b\n",
    "src/x.py": "x\n",
    "src/y.py": "y\n",
    "src/sub/z.py": "z\n",
    "src/notes.md": "n\n",
    "src/link": "->x.py",
    "tool": (0o755, "#!/bin/sh\necho tool\n"),
    "private": (0o600, "p\n"),
    "to": "->src",
}
SH = "FROM busybox\n"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of an image that is built on one without a path."""

CASES = (
    Case("from alone", SH, shows={"echo same": "same"}),
    Case("run shell form", SH + "RUN echo $((1+2)) > /x", shows={"cat /x": "3"}),
    Case("run exec form", SH + 'RUN ["/bin/sh", "-c", "echo $0 > /x", "zero"]', shows={"cat /x": "zero"}),
    Case("exec form has no shell", SH + 'RUN ["touch", "/$HOME"]', shows={"ls -d '/$HOME'": "/$HOME"}),
    Case("directory is forgotten", SH + "RUN cd /tmp && pwd > /x\nRUN pwd >> /x", shows={"cat /x": "/tmp\n/"}),
    Case("variables of a shell are forgotten", SH + 'RUN export A=1\nRUN echo "[$A]" > /x', shows={"cat /x": "[]"}),
    Case(
        "processes end",
        SH + "RUN sleep 1000 & echo $! > /x\nRUN ps | grep -c '[s]leep' > /y || true",
        shows={"cat /y": "0"},
    ),
    Case("files stay", SH + "RUN echo 1 > /x\nRUN echo 2 >> /x", shows={"cat /x": "1\n2"}),
    Case("removal", SH + "RUN mkdir /d && echo 1 > /d/x\nRUN rm -r /d", shows={"ls /d 2>/dev/null; echo $?": "1"}),
    Case("continuation", SH + "RUN echo one \\\n  # a comment\n  two > /x", shows={"cat /x": "one two"}),
    Case("escape directive", "# escape=`\nFROM busybox\nRUN echo one `\n  two > /x", shows={"cat /x": "one two"}),
    Case("lower case", "from busybox\nrun echo x > /x\ncmd cat /x", shows={"cat /x": "x"}),
    Case(
        "env",
        SH + 'ENV A=1 B="two words" C=a\\ b\nRUN echo "$A,$B,$C" > /x',
        shows={"cat /x": "1,two words,a b"},
        config={"Env": [PATH, "A=1", "B=two words", "C=a b"]},
    ),
    Case("env old form", SH + 'ENV A one two\nRUN echo "$A" > /x', shows={"cat /x": "one two"}),
    Case(
        "env sees values from before",
        SH + "ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc",
        shows={"echo $abc $def $ghi": "bye hello bye"},
    ),
    Case(
        "env forms",
        SH + "ENV n=web\nENV a=${n:-x} b=${u:-x} c=${n:+y} d=${u:+y} e=${n#w} f=${n%b} g=${n/e/i}",
        shows={"echo $a,$b,$c,$d,$e,$f,$g": "web,x,y,,eb,we,wib"},
    ),
    Case("env literal dollar", SH + "ENV A=\\$B C='$D'", shows={'echo "$A $C"': "$B $D"}),
    Case("arg default", SH + "ARG V=1\nRUN echo $V > /x", shows={"cat /x": "1", 'echo "[$V]"': "[]"}),
    Case("arg given", SH + "ARG V=1\nRUN echo $V > /x", options=("--build-arg", "V=2"), shows={"cat /x": "2"}),
    Case(
        "arg before from",
        'ARG I=busybox\nFROM $I\nRUN echo "[$I]" > /x\nARG I\nRUN echo $I >> /x',
        shows={"cat /x": "[]\nbusybox"},
    ),
    Case(
        "env beats arg",
        SH + "ARG V=1\nENV V=2\nRUN echo $V > /x",
        options=("--build-arg", "V=3"),
        shows={"cat /x": "2"},
    ),
    Case("arg kept by env", SH + "ARG V=1\nENV V=${V:-9}", options=("--build-arg", "V=5"), shows={"echo $V": "5"}),
    Case(
        "predefined arguments",
        SH + "ARG TARGETOS\nARG TARGETPLATFORM\nRUN echo $TARGETOS ${TARGETPLATFORM%%/*} > /x",
        shows={"cat /x": "linux linux"},
    ),
    Case(
        "proxies need no arg",
        SH + "RUN echo $http_proxy > /x",
        options=("--build-arg", "http_proxy=http://p"),
        shows={"cat /x": "http://p", 'echo "[$http_proxy]"': "[]"},
    ),
    Case(
        "workdir",
        SH + "WORKDIR /a/b\nWORKDIR c\nRUN pwd > /x\nWORKDIR ../d",
        shows={"cat /x": "/a/b/c", "pwd": "/a/b/d"},
        config={"WorkingDir": "/a/b/d"},
    ),
    Case(
        "workdir belongs to the user",
        SH + "USER 7:8\nWORKDIR /w/x",
        shows={f"{MODE} /w /w/x": "755 7:8 /w\n755 7:8 /w/x"},
    ),
    Case(
        "user",
        SH + "RUN echo 'ann:x:50:60::/:/bin/sh' >> /etc/passwd\nUSER ann\nRUN id -u > /tmp/x && id -g >> /tmp/x",
        shows={"cat /tmp/x": "50\n60", "id -u": "50"},
        config={"User": "ann"},
    ),
    Case(
        "label",
        SH + 'LABEL a=1 b="x y"\nLABEL a=2',
        options=("--label", "c=3"),
        config={"Labels": {"a": "2", "b": "x y", "c": "3"}},
    ),
    Case(
        "expose",
        SH + "ENV P=90\nEXPOSE 80 $P/udp 100-101",
        config={"ExposedPorts": {"80/tcp": {}, "90/udp": {}, "100/tcp": {}, "101/tcp": {}}},
    ),
    Case(
        "volume keeps what was written",
        SH + "RUN mkdir /v && echo 1 > /v/a\nVOLUME /v\nRUN echo 2 > /v/b",
        config={"Volumes": {"/v": {}}},
    ),
    Case("stop signal", SH + "STOPSIGNAL SIGUSR1", config={"StopSignal": "SIGUSR1"}),
    Case(
        "healthcheck",
        SH + "HEALTHCHECK --interval=5s --retries=2 CMD test -e /x",
        config={"Healthcheck": {"Test": ["CMD-SHELL", "test -e /x"], "Interval": 5_000_000_000, "Retries": 2}},
    ),
    Case(
        "shell",
        SH + 'SHELL ["/bin/sh", "-xc"]\nRUN echo x > /x\nCMD echo y',
        config={"Cmd": ["/bin/sh", "-xc", "echo y"], "Shell": ["/bin/sh", "-xc"]},
    ),
    Case(
        "command forms",
        SH + 'ENTRYPOINT ["/bin/echo"]\nCMD ["a", "b"]',
        config={"Entrypoint": ["/bin/echo"], "Cmd": ["a", "b"]},
    ),
    Case("entrypoint clears an inherited command", SH + 'ENTRYPOINT ["/bin/sh"]', config={"Cmd": None}),
    Case(
        "onbuild in a stage below",
        "FROM busybox AS base\nONBUILD RUN echo built > /x\nFROM base",
        shows={"cat /x": "built"},
    ),
    Case("maintainer", SH + "MAINTAINER ann@example.org", shows={"echo x": "x"}),
    Case("copy a file", SH + "COPY a.txt /x", TREE, shows={"cat /x": "a", f"{MODE} /x": "644 0:0 /x"}),
    Case("copy into a directory", SH + "COPY a.txt b.txt /d/", TREE, shows={"ls /d": "a.txt\nb.txt"}),
    Case("copy into a directory that is there", SH + "COPY a.txt /tmp", TREE, shows={"cat /tmp/a.txt": "a"}),
    Case(
        "copy what is in a directory",
        SH + "COPY src /d",
        TREE,
        shows={"cd /d && find . | sort": ".\n./link\n./notes.md\n./sub\n./sub/z.py\n./x.py\n./y.py"},
    ),
    Case("copy keeps links in a tree", SH + "COPY src /d", TREE, shows={"readlink /d/link": "x.py"}),
    Case(
        "copy follows a link that is named",
        SH + "COPY src/link /x\nCOPY to /d/",
        TREE,
        shows={"cat /x": "x", "ls /d/sub": "z.py", "test -L /x; echo $?": "1"},
    ),
    Case("copy with patterns", SH + "COPY src/*.py *.txt /d/", TREE, shows={"ls /d": "a.txt\nb.txt\nx.py\ny.py"}),
    Case("copy an array", SH + 'COPY ["a b", "/d e/"]', {"a b": "ab\n"}, shows={"cat '/d e/a b'": "ab"}),
    Case(
        "copy keeps modes",
        SH + "COPY tool private /d/",
        TREE,
        shows={"/d/tool": "tool", f"{MODE} /d/private": "600 0:0 /d/private"},
    ),
    Case(
        "copy relative",
        SH + "WORKDIR /w\nCOPY a.txt .\nCOPY b.txt x/",
        TREE,
        shows={"find . -type f | sort": "./a.txt\n./x/b.txt"},
    ),
    Case(
        "copy with an owner",
        SH + "COPY --chown=7:8 src /d",
        TREE,
        shows={f"{MODE} /d /d/sub/z.py": "755 7:8 /d\n644 7:8 /d/sub/z.py"},
    ),
    Case(
        "copy with an owner by name",
        SH + "RUN echo 'ann:x:50:60::/:/bin/sh' >> /etc/passwd\nCOPY --chown=ann a.txt /x",
        TREE,
        shows={f"{MODE} /x": "644 50:60 /x"},
    ),
    Case(
        "copy with a mode",
        SH + "COPY --chmod=751 a.txt /x\nCOPY --chmod=u=rwX,go= src /d",
        TREE,
        shows={f"{MODE} /x /d/sub /d/x.py": "751 0:0 /x\n700 0:0 /d/sub\n600 0:0 /d/x.py"},
    ),
    Case("copy without", SH + "COPY --exclude=*.md --exclude=sub src /d", TREE, shows={"ls /d": "link\nx.py\ny.py"}),
    Case(
        "copy with parents",
        SH + "COPY --parents src/sub/z.py a.txt /d/\nCOPY --parents src/./sub /e/",
        TREE,
        shows={"cd / && find d e -type f | sort": "d/a.txt\nd/src/sub/z.py\ne/sub/z.py"},
    ),
    Case(
        "copy a here-document",
        SH + "ENV N=web\nCOPY <<E /x\nname $N\nE\nCOPY <<'E' /y\nname $N\nE",
        shows={"cat /x /y": "name web\nname $N"},
    ),
    Case("copy several here-documents", SH + "COPY <<A <<B /d/\none\nA\ntwo\nB", shows={"cat /d/A /d/B": "one\ntwo"}),
    Case(
        "copy keeps the image's links on the way",
        SH + "RUN mkdir /real && ln -s real /link\nCOPY a.txt /link/x/",
        TREE,
        shows={"cat /real/x/a.txt": "a", "readlink /link": "real"},
    ),
    Case(
        "copy replaces a file",
        SH + "RUN echo old > /x && chmod 600 /x\nCOPY a.txt /x",
        TREE,
        shows={f"cat /x; {MODE} /x": "a\n644 0:0 /x"},
    ),
    Case(
        "copy merges directories",
        SH + "RUN mkdir -p /d/sub && echo o > /d/sub/old\nCOPY src /d",
        TREE,
        shows={"ls /d/sub": "old\nz.py"},
    ),
    Case(
        "ignored files",
        SH + "COPY . /d",
        {**TREE, ".dockerignore": "*.txt\n!a.txt\nsrc\n.dockerignore\nDockerfile\nt*\n"},
        shows={"ls /d": "a.txt\nprivate"},
    ),
    Case(
        "ignored but one",
        SH + "COPY . /d",
        {**TREE, ".dockerignore": "*\n!**/*.py\n"},
        shows={"cd /d && find . -type f | sort": "./src/sub/z.py\n./src/x.py\n./src/y.py"},
    ),
    Case(
        "ignore file of the Dockerfile",
        SH + "COPY . /d",
        {**TREE, ".dockerignore": "a.txt\n", "Dockerfile.dockerignore": "*\n!b.txt\n"},
        shows={"ls /d": "b.txt"},
    ),
    Case(
        "add unpacks an archive",
        SH + "ADD site.tar /d/",
        {"site.tar": "tar"},
        shows={"cd /d && find . -type f": "./in/side"},
    ),
    Case("add a file", SH + "ADD a.txt /x", TREE, shows={"cat /x": "a"}),
    Case(
        "add leaves an archive packed",
        SH + "ADD --unpack=false site.tar /d/",
        {"site.tar": "tar"},
        shows={"ls /d": "site.tar"},
    ),
    Case(
        "two stages",
        "FROM busybox AS one\nRUN echo 1 > /x\nFROM busybox\nCOPY --from=one /x /y",
        shows={"cat /y; ls /x 2>&1 | grep -c No": "1\n1"},
    ),
    Case("stages by number", "FROM busybox\nRUN echo 1 > /x\nFROM busybox\nCOPY --from=0 /x /y", shows={"cat /y": "1"}),
    Case(
        "a stage on a stage",
        "FROM busybox AS one\nENV A=1\nARG B=2\nRUN echo 1 > /x\nFROM one\nRUN echo $A $B >> /x",
        shows={"cat /x": "1\n1 2"},
    ),
    Case(
        "a target",
        "FROM busybox AS one\nRUN echo 1 > /x\nFROM busybox AS two\nRUN false",
        options=("--target", "one"),
        shows={"cat /x": "1"},
    ),
    Case(
        "stages nobody needs are left out",
        "FROM busybox AS bad\nRUN false\nFROM busybox\nRUN echo 1 > /x",
        shows={"cat /x": "1"},
    ),
    Case(
        "owners stay from a stage",
        "FROM busybox AS one\nRUN mkdir /d && echo 1 > /d/x && chown 7:8 /d/x && chmod 640 /d/x\n"
        "FROM busybox\nCOPY --from=one /d /d\nCOPY --from=one --chown=1:2 /d/x /y",
        shows={f"{MODE} /d/x /y": "640 7:8 /d/x\n640 1:2 /y"},
    ),
    Case(
        "copy from an image", "FROM busybox\nCOPY --from=busybox /etc/os-release /x", shows={"grep -c busybox /x": "3"}
    ),
    Case(
        "from nothing",
        "FROM busybox AS tools\nFROM scratch\nCOPY --from=tools /bin /bin\nCOPY a.txt /\n",
        TREE,
        shows={"cat /a.txt": "a"},
    ),
    Case(
        "hard links stay",
        "FROM busybox AS one\nRUN mkdir /d && echo 1 > /d/a && ln /d/a /d/b\nFROM busybox\nCOPY --from=one /d /d",
        shows={"stat -c %h /d/a": "2"},
    ),
    Case("run a here-document", SH + "RUN <<E\necho one > /x\necho $((1+1)) >> /x\nE", shows={"cat /x": "one\n2"}),
    Case("here-document as input", SH + "RUN cat <<E > /x\na $HOME\nE", shows={"cat /x": "a /root"}),
    Case(
        "here-document with an interpreter",
        SH + "RUN <<E\n#!/bin/sh -e\necho $0 > /dev/null\necho script > /x\nE",
        shows={"cat /x": "script"},
    ),
    Case(
        "memory beside a step",
        SH + "RUN --mount=type=tmpfs,target=/mem echo 1 > /mem/x && ls /mem > /x",
        shows={"cat /x; ls -d /mem 2>/dev/null; echo $?": "x\n1"},
    ),
    Case(
        "context beside a step",
        SH + "RUN --mount=target=/ctx cat /ctx/src/x.py > /x",
        TREE,
        shows={"cat /x; ls -d /ctx 2>/dev/null; echo $?": "x\n1"},
    ),
    Case(
        "a stage beside a step",
        "FROM busybox AS one\nRUN echo 1 > /x\nFROM busybox\n"
        "RUN --mount=type=bind,from=one,source=/x,target=/tmp/in cat /tmp/in > /y",
        shows={"cat /y; ls /tmp": "1"},
    ),
    Case(
        "writes beside a step vanish",
        SH + "RUN --mount=target=/ctx,rw echo 2 > /ctx/a.txt && cat /ctx/a.txt > /x\n"
        "RUN --mount=target=/ctx cat /ctx/a.txt >> /x",
        TREE,
        shows={"cat /x": "2\na"},
    ),
    Case("no network", SH + "RUN --network=none ls /sys/class/net > /x", shows={"cat /x": "lo"}),
    Case(
        "all together",
        "# syntax=docker/dockerfile:1\nARG BASE=busybox\nFROM ${BASE} AS build\nARG V=0\nWORKDIR /src\nCOPY src ./\n"
        "RUN cat *.py > /out && echo v$V >> /out\nFROM ${BASE}\nLABEL version=1\nENV MODE=prod\nWORKDIR /app\n"
        'COPY --from=build --chown=9:9 /out ./data\nUSER 9\nEXPOSE 8080\nHEALTHCHECK NONE\nCMD ["cat", "data"]',
        TREE,
        options=("--build-arg", "V=7"),
        shows={"cat data; id -u; echo $MODE": "x\ny\nv7\n9\nprod"},
        config={"Cmd": ["cat", "data"], "WorkingDir": "/app", "User": "9", "Healthcheck": {"Test": ["NONE"]}},
    ),
)
