import pytest

from reconciler.runtimes.native.images.transport import failure


def fatal(message: str) -> str:
    return f'Getting image source signatures\ntime="2026-11-23T17:32:12Z" level=fatal msg="{message}"'


@pytest.mark.parametrize(
    ("output", "reason", "words"),
    [
        pytest.param(
            fatal("reading manifest 1 in 127.0.0.1:5000/x: manifest unknown: manifest unknown"),
            "ErrImagePull",
            "pulling 'x': no such image",
            id="no such tag",
        ),
        pytest.param(
            fatal(r"pinging container registry h: Get \"https://h/v2/\": dial tcp 1.2.3.4:443: i/o timeout"),
            "ErrImagePull",
            "pulling 'x': the registry does not answer in time",
            id="timeout",
        ),
        pytest.param(
            fatal("writing blob: storing blob to file: write /x/oci-put-blob1: no space left on device"),
            "NoSpace",
            "pulling 'x': no space left on the device of the image store",
            id="disk full",
        ),
        pytest.param(
            fatal(r"something \"new\" happened"),
            "ErrImagePull",
            "pulling 'x': something \"new\" happened",
            id="unknown",
        ),
        pytest.param("Killed", "ErrImagePull", "pulling 'x': Killed", id="no log line"),
    ],
)
def test_skopeos_words_become_ours(output: str, reason: str, words: str) -> None:
    error = failure("pulling 'x'", output, "ErrImagePull")
    assert (error.reason, str(error)) == (reason, words)
