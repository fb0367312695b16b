"""The operator's word: the file is the truth, the environment overrides, a mistake is one clear line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from listener import config
from listener.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "listener.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = config.load(environ={})
    assert (made.web.host, made.web.port) == ("127.0.0.1", 8080)
    assert made.store_url().startswith("sqlite:///")


def test_the_environment_overrides_single_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "[web]\nport = 9000\n")
    environ = {"LISTENER_WEB_PORT": "9001", "LISTENER_SIGNAL_REGIONS": '["TR"]', "LISTENER_SIGNAL_LOOKBACK": "30m"}
    made = config.load(path, environ)
    assert made.web.port == 9001
    assert made.signal.regions == ("TR",)
    assert made.signal.lookback == timedelta(minutes=30)


def test_a_secret_is_read_from_its_file_and_is_in_no_digest(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("s3cret\n")
    path = write(tmp_path, "")
    made = config.load(path, {"LISTENER_PRIVACY_AUTHOR_KEY_FILE": str(secret)})
    assert made.privacy.author_key == "s3cret"
    assert made.digest == config.load(path, {}).digest


def test_a_token_of_a_source_comes_from_the_environment_or_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    for place, expected in ((f'{{file = "{tmp_path}/token"}}', "from-file"), ('{env = "TOKEN"}', "from-env")):
        made = config.load(write(tmp_path, f'[[source]]\nkind = "x"\ntoken = {place}\n'), {"TOKEN": "from-env"})
        token = made.sources[0].options["token"]
        assert token.reveal() == expected
        assert expected not in f"{made!r} {token}"
    with pytest.raises(ConfigError, match="token: the environment has no TOKEN"):
        config.load(write(tmp_path, '[[source]]\nkind = "x"\ntoken = {env = "TOKEN"}\n'), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[web]\nprot = 1\n", "web: unknown key 'prot'; did you mean 'port'"),
        ("[wbe]\n", "unknown key 'wbe'; did you mean 'web'"),
        ("[web]\nport = 'x'\n", "port: Expected `int`, got `str`"),
        ("web = 3\n", "web: expected a table"),
        ("[source]\nkind = 'rss'\n", r"write \[\[source\]\] in double brackets"),
        ("[[source]]\nname = 'a'\n", r"source\[0\]: key 'kind' is missing"),
        ("[[source]]\nkind='rss'\nname='a'\n[[source]]\nkind='rss'\nname='a'\n", "two sources have the same name"),
        ("[web\n", "line 1"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        config.load(path, {})
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        config.load(tmp_path / "nothing.toml", {})


def test_the_digest_names_what_decides(tmp_path: Path) -> None:
    before = config.load(write(tmp_path, ""), {})
    other_port = config.load(write(tmp_path, "[web]\nport = 1\n"), {})
    other_signal = config.load(write(tmp_path, "[signal]\nchatter_floor = 0.5\n"), {})
    assert before.digest == other_port.digest != other_signal.digest
