"""History keeps command lines; secrets must not be in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.redact import mask, redacted


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("run -e TOKEN=abc web", "run -e TOKEN=(secret) web"),
        ("run -eTOKEN=abc web", "run -eTOKEN=(secret) web"),
        ("run -e=TOKEN=abc web", "run -e=TOKEN=(secret) web"),
        ("run --env TOKEN=abc web", "run --env TOKEN=(secret) web"),
        ("run --env=TOKEN=abc web", "run --env=TOKEN=(secret) web"),
        ("run -dqe TOKEN=abc web", "run -dqe TOKEN=(secret) web"),
        ("run -dqeTOKEN=abc web", "run -dqeTOKEN=(secret) web"),
        ("container run -e TOKEN=abc web", "container run -e TOKEN=(secret) web"),
        ("--debug create -e TOKEN=abc web", "--debug create -e TOKEN=(secret) web"),
        ("docker -H unix:///run/x.sock --tls run -e TOKEN=abc web", "docker -H unix:///run/x.sock --tls run -e "
         "TOKEN=(secret) web"),
        ("docker --log-level x compose -f y run -e TOKEN=abc web", "docker --log-level x compose -f y run -e "
         "TOKEN=(secret) web"),
        ("docker -H x login -p abc", "docker -H x login -p (secret)"),
        ("build --build-arg KEY=abc -t run .", "build --build-arg KEY=(secret) -t run ."),
        ("build -t run --build-arg KEY=abc .", "build -t run --build-arg KEY=(secret) ."),
        ("run --name login -p 80:80 web", "run --name login -p 80:80 web"),
        ("run -e TOKEN web", "run -e TOKEN web"),
        ("run --name e -w /x -e A=1 -e B=2 web env A=1", "run --name e -w /x -e A=(secret) -e B=(secret) web env A=1"),
        ("run --name -e -e A=1 web", "run --name -e -e A=(secret) web"),
        ("run -e A=a=b web", "run -e A=(secret) web"),
        ("run web sh -e A=1", "run web sh -e A=1"),
        ("run -- web -e A=1", "run -- web -e A=1"),
        ("run -e", "run -e"),
        ("login --password hunter2 host", "login --password (secret) host"),
        ("login -u ann -p hunter2 host", "login -u ann -p (secret) host"),
        ("docker login -phunter2 host", "docker login -p(secret) host"),
        ("docker login -p=hunter2", "docker login -p(secret)"),
        ("login -p", "login -p"),
        ("login --password=hunter2 host", "login --password=(secret) host"),
        ("build --build-arg KEY=abc .", "build --build-arg KEY=(secret) ."),
        ("build https://ann:abc@h/a.git#v1", "build https://(secret)@h/a.git#v1"),
        ("build -- https://ann:abc@h/a.git", "build -- https://(secret)@h/a.git"),
        ("build -t x HTTP://ghp_abc@h:8/a.git", "build -t x HTTP://(secret)@h:8/a.git"),
        ("build ssh://git:abc@h/a.git", "build ssh://git:(secret)@h/a.git"),
        ("build ssh://git@h/a.git#a@b:c", "build ssh://git@h/a.git#a@b:c"),
        ("build git@h:a/b.git", "build git@h:a/b.git"),
        ("build https://h/a@b:c@d.tar", "build https://h/a@b:c@d.tar"),
        ("build --label x=https://ann:abc@h .", "build --label x=https://(secret)@h ."),
        ("-H nats://ann:abc@h/box ps", "-H nats://ann:(secret)@h/box ps"),
        ("-H nats://ann@h/box ps", "-H nats://ann@h/box ps"),
        ("stop -t 3 web", "stop -t 3 web"),
        ("", ""),
    ],
)
def test_values_of_variables_are_masked_in_every_spelling(line: str, kept: str) -> None:
    """Whoever may read history may not read secrets: elsewhere the password in the address of a repository was written
    down with what came of a build (CVE-2023-26054)."""
    assert mask(line.split()) == tuple(kept.split())


def test_the_kept_line_is_quoted_for_a_shell() -> None:
    """It can be read without doubt where one word ends."""
    assert redacted(["run", "-e", "A=1", "-w", "/a b", "web"]) == "run -e 'A=(secret)' -w '/a b' web"


BARE = st.sampled_from(["-d", "--rm", "--init", "-q", "--name=x", "-w/x", "--label", "-l"])
ENV = st.sampled_from(
    [["-e", "K=hunter2"], ["-eK=hunter2"], ["--env", "K=hunter2"], ["--env=K=hunter2"], ["-de", "K=hunter2"]]
)


@given(
    st.lists(BARE.map(lambda word: [word, "v=1"] if word in ("--label", "-l") else [word]), max_size=4),
    st.lists(ENV, min_size=1),
)
def test_no_mixture_of_options_lets_a_value_through(bare: list[list[str]], env: list[list[str]]) -> None:
    """The order of options does not matter."""
    words = ["run", *(word for group in (*bare, *env) for word in group), "image", "command"]
    assert "hunter2" not in " ".join(mask(words))
    assert mask(words)[-2:] == ("image", "command")
