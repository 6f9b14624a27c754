"""Templates of --format: the language, its data, and what must not get out of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.text.template.apply import parse, render
from domain.text.template.values import TemplateError

DATA: dict[str, object] = {
    "Name": "web",
    "State": {"Status": "running", "Pid": 42, "Paused": False, "Load": 1.5, "Error": None},
    "Env": ["A=1", "B=2"],
    "Labels": {"b": "2", "a": "1"},
    "Empty": [],
    "Odd": "x\x1b[31m\ny",
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "web"),
        ("{{ .State.Status }}/{{.State.Pid}}", "running/42"),
        ("{{.State.Paused}} {{.State.Load}} {{.State.Error}}", "false 1.5 <no value>"),
        ("{{.Env}} {{.Labels}}", "[A=1 B=2] map[a:1 b:2]"),
        ("{{json .Labels}}", '{"b":"2","a":"1"}'),
        ('{{.Name | upper | printf "%s!"}}', "WEB!"),
        ('{{upper .Name}} {{lower "ABC"}} {{title "two words"}}', "WEB abc Two Words"),
        ('{{join .Env ", "}}', "A=1, B=2"),
        ('{{index (split "a:b:c" ":") 1}}', "b"),
        ("{{pad .Name 1 2}}|", " web  |"),
        ("{{truncate .Name 2}}", "we"),
        ("{{len .Env}} {{len .Name}} {{len .Labels}}", "2 3 2"),
        ('{{index .Labels "a"}} {{index .Env 1}}', "1 B=2"),
        ("{{slice .Name 1}} {{slice .Name 0 2}}", "eb we"),
        ("{{if .State.Paused}}p{{else}}r{{end}}", "r"),
        ('{{if eq .State.Status "exited"}}e{{else if eq .State.Status "running"}}r{{else}}?{{end}}', "r"),
        ("{{if and .Name (gt .State.Pid 1)}}yes{{end}}", "yes"),
        ("{{if or .Empty .State.Error}}yes{{else}}no{{end}}", "no"),
        ("{{if not .Empty}}none{{end}}", "none"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Empty}}x{{else}}-{{end}}", "42-"),
        ("{{range .Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range $i, $v := .Env}}{{if $i}},{{end}}{{$v}}{{end}}", "A=1,B=2"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{range .Env}}{{.}}{{break}}{{end}}", "A=1"),
        ('{{range .Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{end}}', "B=2"),
        ('{{$n := .Name}}{{$n}}{{$n = "x"}}{{$n}}', "webx"),
        ("{{range .Env}}{{$.Name}} {{end}}", "web web "),
        ("{{(index .Env 0)}} {{(.State).Pid}}", "A=1 42"),
        ("a {{- .Name -}} b", "awebb"),
        ("a{{/* note */}}b {{- /* note */ -}} c", "abc"),
        ("{{println .Name}}x", "web\nx"),
        ('{{print 1 2 "a" .Name}}', "1 2aweb"),
        (
            '{{printf "%-5s|%03d|%q|%v|%5.1f|%%|%t" .Name 7 .Name .Env 1.5 true}}',
            'web  |007|"web"|[A=1 B=2]|  1.5|%|true',
        ),
        ("{{`raw \\n`}} {{\"a\\tb\"}} {{'a'}}", "raw \\n a\tb 97"),
        ("{{eq .State.Pid 1 2 42}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{ge 1 2}}", "true true true true false"),
        ("{{true}} {{0x10}} {{-3}}", "true 16 -3"),
        ("{{if false}}{{.Missing}}{{end}}ok", "ok"),
        ("{{and false .Missing}}{{or 1 .Missing}}", "false1"),
    ],
)
def test_the_language_is_the_one_that_scripts_use(text: str, result: str) -> None:
    """Format strings come from scripts written for the standard CLI."""
    assert render(text, DATA) == result


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{{", "unclosed action"),
        ("{{.Name", "unclosed action"),
        ("{{if .Name}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if .Name}}{{else}}{{else}}{{end}}", "expected end"),
        ("{{nope .Name}}", 'function "nope" not defined'),
        ("{{}}", "missing value"),
        ("{{.Name | }}", "missing value"),
        ('{{"abc}}', "unterminated"),
        ("{{/* x}}", "unclosed comment"),
        ("{{break}}", "outside {{range}}"),
        ('{{define "x"}}{{end}}', "not supported"),
        ("{{(.Name}}", "unclosed left paren"),
        ("{{.Name)}}", "unexpected"),
        ("{{$x}}", "undefined variable"),
        ("{{.Missing}}", 'map has no entry for key "Missing"'),
        ("{{.State.Status.X}}", "can't evaluate field X in type string"),
        ("{{.State.Error.X}}", "nil data"),
        ("{{index .Env 9}}", "index out of range"),
        ('{{join .Name ","}}', "expected slice"),
        ("{{lt .Name 1}}", "incompatible types"),
        ("{{upper}}", "args for upper"),
        ("{{.Name 1}}", "cannot be invoked"),
        ("{{range .Name}}{{end}}", "range can't iterate"),
        ("{{len 3}}", "len of type int"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(text: str, place: str) -> None:
    """One line that says where the template is wrong."""
    with pytest.raises(TemplateError) as caught:
        render(text, DATA)
    assert place in caught.value.message
    assert caught.value.message.startswith("template")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "{{.Odd}}",
        '{{printf "%s" .Odd}}',
        "{{upper .Odd}}",
        "{{json .Odd}}",
        '{{join (split .Odd "q") ""}}',
        "{{.}}",
        "{{range $k, $v := .}}{{$v}}{{end}}",
        "{{println .Odd}}",
        "{{slice .Odd 0 3}}",
        "{{print .Odd}}",
        '{{index . "Odd"}}',
    ],
)
def test_no_function_lets_data_reach_the_terminal_raw(text: str) -> None:
    """A label with an escape sequence stays text through every function."""
    assert "\x1b" not in render(text, DATA)
    assert "\x1b" not in render(text, DATA, lines=True)


def test_the_authors_own_escapes_are_kept() -> None:
    """Whoever types a colour wants a colour."""
    assert render('{{"\\x1b[1m"}}{{.Name}}', DATA) == "\x1b[1mweb"


def test_lines_in_data_stay_lines_when_they_may() -> None:
    """inspect -f prints a value with several lines as it is; a list never does."""
    assert render("{{.Odd}}", DATA, lines=True) == "x\\x1b[31m\ny"
    assert render("{{.Odd}}", DATA) == "x\\x1b[31m\\ny"


def test_json_gives_the_exact_value() -> None:
    """What scripts parse is not the text for eyes."""
    assert json.loads(render("{{json .}}", DATA)) == DATA


def test_runaway_templates_end() -> None:
    """The daemon renders them: neither depth nor size may hurt it."""
    with pytest.raises(TemplateError, match="too large"):
        render('{{range 1000}}{{range 1000}}{{printf "%9000d" 1}}{{end}}{{end}}', {})
    with pytest.raises(TemplateError, match="too deeply"):
        parse("{{if 1}}" * 60 + "{{end}}" * 60)
    with pytest.raises(TemplateError, match="too deeply"):
        parse("{{" + "(" * 60 + "1" + ")" * 60 + "}}")
    with pytest.raises(TemplateError, match="width"):
        render('{{printf "%99999d" 1}}', {})


ACTION = st.sampled_from(
    [
        "{{",
        "}}",
        "{{.Name}}",
        "{{range .Env}}",
        "{{end}}",
        "{{else}}",
        "{{if .Name}}",
        "|",
        '"',
        "`",
        "$x",
        ":=",
        ".",
        "(",
        ")",
        "{{-",
        "-}}",
        "/*",
        "*/",
        "printf",
        "json",
        "'",
        "\\",
        " ",
        "=",
        "1",
        "index",
        "{{break}}",
        "with",
        "{{with .State}}",
        "0x",
        "%d",
    ]
)


@given(st.lists(ACTION, max_size=14).map("".join))
def test_no_template_makes_the_engine_stumble(text: str) -> None:
    """Anything that can be typed is rendered or refused; nothing else happens."""
    try:
        render(text, DATA)
    except TemplateError:
        pass


@given(st.text(st.characters(exclude_characters="{")))
def test_text_without_actions_is_printed_as_it_is(text: str) -> None:
    """Nothing is lost between actions."""
    assert render(text, DATA) == text
