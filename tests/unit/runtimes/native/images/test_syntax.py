import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.runtimes.native.images.dockerfile import images_needed, parse_dockerfile
from reconciler.runtimes.native.images.syntax import find_errors, json_list, split_words


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        pytest.param("FROM a\n", [], id="the least there is"),
        pytest.param("ARG A=1\nARG B\nFROM a:$A AS b\nFROM b\n", [], id="ARG before FROM, stages"),
        pytest.param("\n# nothing\n", ["Dockerfile:1: no instruction; a Dockerfile begins with FROM"], id="empty"),
        pytest.param("ARG A\n", ["Dockerfile:1: no FROM"], id="only ARG"),
        pytest.param("\nRUN a\nRUN b\n", ["Dockerfile:2: RUN comes before FROM; only ARG may"], id="before FROM, once"),
        pytest.param("FROM a\nRUM x\n", ["Dockerfile:2: RUM is no instruction; did you mean RUN?"], id="a typo"),
        pytest.param("FROM a\nfoo\n", ["Dockerfile:2: FOO is no instruction"], id="nothing near"),
        pytest.param("FROM a b\n", ["Dockerfile:1: FROM needs an image, and at most AS"], id="FROM two words"),
        pytest.param("FROM a as b c\n", ["Dockerfile:1: FROM needs an image, and at most AS"], id="FROM four words"),
        pytest.param("FROM a is b\n", ["Dockerfile:1: FROM needs an image, and at most AS"], id="FROM is"),
        pytest.param("FROM --platform=x\n", ["Dockerfile:1: FROM needs an image"], id="FROM with only a flag"),
        pytest.param("FROM a AS 1b\n", ["Dockerfile:1: FROM has the stage name '1b'; expected"], id="stage name"),
        pytest.param("FROM a\nCOPY --form=b x y\n", ["Dockerfile:2: COPY has no flag --form; it has"], id="a flag"),
        pytest.param("FROM a\nCOPY x\n", ["Dockerfile:2: COPY needs a source and a destination"], id="COPY one word"),
        pytest.param('FROM a\nCOPY ["x"]\n', ["Dockerfile:2: COPY needs a source and"], id="COPY one word in JSON"),
        pytest.param('FROM a\nCOPY ["x y", "z"]\nADD a b c\n', [], id="COPY JSON, ADD many"),
        pytest.param("FROM a\nCOPY a\\ .\n", [], id="a path of Windows"),
        pytest.param("FROM a\nENV\n", ["Dockerfile:2: ENV needs NAME=VALUE"], id="ENV nothing"),
        pytest.param("FROM a\nENV A\n", ["Dockerfile:2: ENV needs NAME=VALUE; 'A' has no value"], id="ENV no value"),
        pytest.param("FROM a\nENV A=b c\n", ["Dockerfile:2: ENV needs NAME=VALUE; 'c' has no ="], id="ENV half"),
        pytest.param("FROM a\nENV =b\n", ["Dockerfile:2: ENV needs NAME=VALUE; '=b' has no name"], id="ENV no name"),
        pytest.param(
            'FROM a\nENV A b c\nENV A="b c" B=d\\ e C=\'f g\'\nLABEL "x y"=z\n', [], id="ENV in all its forms"
        ),
        pytest.param("FROM a\nARG\n", ["Dockerfile:2: ARG needs a name"], id="ARG nothing"),
        pytest.param("FROM a\nRUN\n", ["Dockerfile:2: RUN needs a command"], id="RUN nothing"),
        pytest.param("FROM a\nCMD\nENTRYPOINT\nCMD []\n", [], id="CMD and ENTRYPOINT may be empty"),
        pytest.param("FROM a\nSHELL /bin/sh\n", ["Dockerfile:2: SHELL needs a JSON list"], id="SHELL"),
        pytest.param("FROM a\nHEALTHCHECK true\n", ["Dockerfile:2: HEALTHCHECK needs NONE, or CMD"], id="HEALTHCHECK"),
        pytest.param("FROM a\nHEALTHCHECK --retries=3 cmd x\nHEALTHCHECK none\n", [], id="HEALTHCHECK right"),
        pytest.param("FROM a\nONBUILD FROM b\n", ["Dockerfile:2: ONBUILD cannot have FROM"], id="ONBUILD FROM"),
        pytest.param("FROM a\nFOO\nBAR\n", ["Dockerfile:2: FOO is", "Dockerfile:3: BAR is"], id="all at once"),
        pytest.param("FROM a\nRUN <<E\nfoo bar\nE\nUSER\n", ["Dockerfile:5: USER needs a user"], id="after a heredoc"),
        pytest.param("FROM a\nRUN echo '<<E'\nE x\n", ["Dockerfile:3: E is no"], id="a heredoc in quotes is none"),
        pytest.param("FROM a\nRUN echo $((1<<2))\nUSER x\n2\n", ["Dockerfile:4: 2 is no"], id="a shift is no heredoc"),
        pytest.param("FROM a\nRUN cat <<E\nUSER\n", ["Dockerfile:3: USER needs"], id="a heredoc without an end"),
        pytest.param('FROM a\nCOPY <<"E" /x\nfoo\nE\nRUN <<-E\n\tfoo\n\tE\n', [], id="heredocs: quoted, with tabs"),
        pytest.param("FROM a\nRUN a \\\n# said\n\n  && b \\\n# at the end\n", [], id="comments inside, none after"),
        pytest.param("FROM a\nRUN --mount=type=bind,target=/x\n", [], id="only a mount"),
    ],
)
def test_find_errors(content: str, errors: list[str]) -> None:
    found = [str(problem) for problem in find_errors(parse_dockerfile(content), "Dockerfile")]
    assert len(found) == len(errors), found
    for have, want in zip(found, errors, strict=True):
        assert have.startswith(want)


@given(st.text(st.sampled_from("FROM RUNENV<<E=\\\n\"'[]#-$ a{}")))
def test_any_text_is_read_without_an_exception(content: str) -> None:
    instructions = parse_dockerfile(content)
    find_errors(instructions, "Dockerfile")
    images_needed(instructions, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ["a", "b"]),
        ('a="b c" d', ['a="b c"', "d"]),
        (r"a=b\ c d", [r"a=b\ c", "d"]),
        ("a='b \"c' d", ["a='b \"c'", "d"]),
        ('a="b', ['a="b']),
        ("", []),
    ],
)
def test_split_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [('["a", "b"]', ["a", "b"]), ("[]", []), ("['a']", None), ("[ -f x ]", None), ("[1]", None), ("[" * 9999, None)],
)
def test_json_list(text: str, expected: list[str] | None) -> None:
    assert json_list(text) == expected
