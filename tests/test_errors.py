"""Messages and pickling of errors."""

import pickle

import pytest

from eno.errors import AudioError, FingerprintMismatch, MissingExtra, ModelError, NotFitted, UnknownName, check_format


def test_missing_extra_says_what_to_install():
    assert str(MissingExtra("ray", "ray[data]")) == (
        "This needs the package ray[data], which is not installed. Install it with: pip install 'ray[data]', or "
        "install the whole extra 'ray' from eno's repository: pip install '.[ray]'"
    )
    assert str(MissingExtra("laion", "wandb", needed_by="laion-clap")).startswith(
        "laion-clap needs the package wandb, which is not installed. Install it with: pip install wandb, or"
    )


@pytest.mark.parametrize(
    "error",
    [
        AudioError("a.wav", "is empty"),
        FingerprintMismatch("a-1", "b-2", "Embed again."),
        MissingExtra("laion", "wandb", needed_by="laion-clap"),
        NotFitted("MLPHead"),
        UnknownName("encoder", "clapp", ["clap"]),
    ],
)
def test_errors_reach_another_process_unchanged(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


@pytest.mark.parametrize(
    ("found", "remedy"),
    [(3, "upgrade eno"), (0, "is damaged"), ("2", "is damaged"), (None, "is damaged"), (True, "is damaged")],
)
def test_other_formats_than_those_that_can_be_read(found, remedy):
    check_format("head.json", 2, 2, ModelError)
    with pytest.raises(ModelError, match=rf"head\.json: has format .*up to format 2.*{remedy}"):
        check_format("head.json", found, 2, ModelError)
