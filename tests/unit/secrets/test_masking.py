"""Credentials are masked wherever they stand, and nothing else is."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multitrack.masking import MASKED, LineMask, Mask
from support.credentials import CODE, NEAR_MISSES, Secret, private_key, secrets

MASK = Mask()
SECRETS = secrets()


def words(text: str) -> list[str]:
    return text.split()


shown = pytest.mark.parametrize("secret", SECRETS, ids=[secret.name[:60] for secret in SECRETS])


@shown
def test_no_credential_is_left(secret: Secret) -> None:
    assert secret.it in secret.text
    masked = MASK.text(secret.text)
    assert secret.it not in masked
    assert MASKED in masked
    assert MASK.text(masked) == masked


@shown
def test_nor_where_it_stands_among_other_things(secret: Secret) -> None:
    around = f"epoch 3 loss=0.1\n{secret.text}\nlr: 0.1"
    masked = MASK.text(around)
    assert secret.it not in masked
    assert masked.startswith("epoch 3 loss=0.1\n")
    assert masked.endswith("\nlr: 0.1") or secret.name == "a cut key"


@shown
def test_nor_in_a_value(secret: Secret) -> None:
    value = MASK.value("x", {"a": [{"b": secret.text}], secret.text: 1, "n": (secret.text, 2)})
    assert secret.it not in str(value)


@pytest.mark.parametrize("text", NEAR_MISSES + CODE)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert MASK.text(text) is text
    assert MASK.find(text.encode()) is None
    if text not in CODE:
        assert MASK.command(text.split()) == text.split()


@pytest.mark.parametrize(
    "name",
    words(
        """
    password passwd PGPASSWORD dbPassword db.password --password secret client_secret clientSecret CLIENT_SECRET secrets token
    auth-token accessToken HF_TOKEN hub_token api_key apiKey APIKey api-key apikey WANDB_API_KEY aws_secret_access_key AccountKey
    private_key passphrase smtp_pass credentials api_keys access_tokens SharedAccessSignature api_key_2 password1
    Authorization API_KEY_PROD dbPasswordDev
        """
    ),
)
def test_names_of_credentials(name: str) -> None:
    assert MASK.is_secret_name(name)
    assert MASK.value(name, "abc-1") == MASKED
    assert MASK.value("conf", {"inner": [{name: "abc-1"}]}) == {"inner": [{name: MASKED}]}


@pytest.mark.parametrize(
    "name",
    words(
        """
    tokenizer max_tokens tokens n_tokens token_count tokens_per_second eos_token pad_token bosToken next_token key keys
    primary_key sort_key keypoints public_key cache_key keyboard secret_santa secretary author authority auth passwords.txt pass
    passes bypass num_passes compass monkey use_password_file password_length token_type token_id has_token is_secret no_password
    signature
        """
    ),
)
def test_names_of_other_things(name: str) -> None:
    assert not MASK.is_secret_name(name)
    assert MASK.value(name, "abc-1") == "abc-1"


def test_values_keep_their_types() -> None:
    given = {"password": 1234, "token": None, "use_token": True, "secret": False, "api_key": 0.5, "token_id": 7, "eos_token": "<s>"}
    assert MASK.value("x", given) == {**given, "password": MASKED}


def test_what_stands_below_a_credentials_name_is_one() -> None:
    assert MASK.value("x", {"secrets": {"a": "one", "b": ["two"]}, "passwords": ["one", "two"]}) == {
        "secrets": {"a": MASKED, "b": [MASKED]},
        "passwords": [MASKED, MASKED],
    }


def test_a_path_to_credentials_is_none() -> None:
    paths = {"credentials": "~/.aws/credentials", "private_key": "/home/jo/id.pem", "token": "/run/secrets/token"}
    assert MASK.value("x", paths) == paths
    assert MASK.value("x", {"password": "/home/jo"}) == {"password": MASKED}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["t.py", "--token", "abc"], ["t.py", "--token", MASKED]),
        (["t.py", "--password", "-abc", "x"], ["t.py", "--password", MASKED, "x"]),
        (["t.py", "+db.password=a b=c", "token=abc"], ["t.py", "+db.password=***", "token=***"]),
        (["t.py", "--url=redis://:abc@host/0"], ["t.py", "--url=redis://***@host/0"]),
        (["sh", "-c", "t.py --password abc --x 1"], ["sh", "-c", "t.py --password *** --x 1"]),
        (["t.py", "--eos-token", "abc", "--no-password", "abc"], ["t.py", "--eos-token", "abc", "--no-password", "abc"]),
        (["t.py", "--credentials", "/home/jo/c.json", "--pad-token=x"], ["t.py", "--credentials", "/home/jo/c.json", "--pad-token=x"]),
        (["t.py", "https://x/y?lr=1&password=abc"], ["t.py", "https://x/y?lr=1&password=***"]),
    ],
)
def test_command_lines(command: list[str], expected: list[str]) -> None:
    assert MASK.command(command) == expected


def test_what_stays_around_a_credential() -> None:
    assert MASK.text("password='a b', port=5432") == "password='***', port=5432"
    assert MASK.text("f(password=ab,cd, port=5432)") == "f(password=***, port=5432)"
    assert MASK.text('{"api_key": "abc", "lr": 0.1}') == '{"api_key": "***", "lr": 0.1}'
    assert MASK.text("https://me:abc@host/x?token=abc&lr=1") == "https://***@host/x?token=***&lr=1"
    assert MASK.text("[badge](https://x/badge.svg?token=abc)](https://x)") == "[badge](https://x/badge.svg?token=***)](https://x)"


def test_a_private_key_line_by_line() -> None:
    block, body = private_key()
    console = LineMask(MASK)
    lines = [console.text(line) for line in ["before", *block.splitlines(), "after", "loss=1"]]
    assert not set(body) & set(lines)
    assert lines[0] == "before"
    assert lines[-2:] == ["after", "loss=1"]


def test_a_private_key_that_never_ends_hides_no_more_than_a_key_has() -> None:
    console = LineMask(MASK)
    console.text(private_key()[0].splitlines()[0])
    lines = [console.text(f"line {i}") for i in range(300)]
    assert lines[0] == MASKED
    assert lines[-1] == "line 299"


def test_patterns_of_ones_own() -> None:
    mask = Mask([r"ACME-\d+", r"badge (\w+)", r"x*"])
    assert mask.text("id ACME-123, badge 77, xx") == "id ***, badge ***, ***"
    assert mask.find(b"one\ntwo ACME-1\n") == "what `secret_patterns` names, line 2"
    assert mask.value("a", ["ACME-1"]) == [MASKED]


# -- files


@pytest.mark.parametrize("secret", [s for s in SECRETS if " alone" in s.name or "KEY" in s.name or s.name.startswith(("postgres", "a "))])
def test_a_file_with_one_is_known(secret: Secret) -> None:
    found = MASK.find(f"# a file\n\n{secret.text}\n".encode())
    assert found is not None
    assert secret.it not in found


def test_a_finding_says_what_and_where() -> None:
    key = "gh" + "p_" + "a1B2" * 9
    assert MASK.find(f"one\ntwo {key}\n".encode()) == "a GitHub token, line 2"
    assert MASK.find(f"a\nhttps://me:pw4Host99@host\n{key}".encode()) == "a login in a URL, line 2"
    assert MASK.find(f'db_password = "{"q8Kf2" * 3}"'.encode()) == "a credential by its name, line 1"


@pytest.mark.parametrize(
    "source",
    [
        "password = getpass.getpass()",
        "api_key: str = os.environ['API_KEY']",
        "parser.add_argument('--token', help='the token')",
        'assert login(password="test1234")',
        "api_key=your-api-key-1",
        "password = cfg.db.password",
        "token = tokens[i + 1]",
        "self.secret = secret",
        "host, access_key, secret_key = s3_connection",
        "self._token = oauth2_session.token",
        "def f(password: str = 'x', *, token: str | None = None): ...",
    ],
)
def test_source_code_that_only_handles_them_is_kept(source: str) -> None:
    assert MASK.find(source.encode()) is None


def test_the_projects_own_code_is_kept() -> None:
    root = Path(__file__).parents[3]
    files = [file for folder in ("src", "backends", "docs", "examples") for file in (root / folder).rglob("*.py")]
    assert len(files) > 50
    assert [(str(file), found) for file in files if (found := MASK.find(file.read_bytes()))] == []


def test_bytes_that_are_no_text_are_searched_as_well() -> None:
    assert MASK.find(bytes(range(256)) * 8) is None
    assert MASK.find(b"\xff\xfe\n" + b"sk-" + b"ant-" + b"a1B2c3" * 5) == "an Anthropic key, line 2"


# -- whatever is thrown at it


texts = st.text() | st.lists(
    st.sampled_from(["password", "=", ":", "token", "'", '"', "://", "@", "a1b2c3d4e5", " ", "?", "&", "sig", "--", "\n"])
).map("".join)


@given(texts)
@example("token=token=token=a1b2c3d4e5")
@example("://a:b@c@d:e@f")
@settings(max_examples=300, deadline=None)
def test_masking_twice_is_masking_once(text: str) -> None:
    once = MASK.text(text)
    assert MASK.text(once) == once
    assert MASK.find(text.encode("utf-8", "replace")) is None or once != text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
)


@given(json_values)
@settings(max_examples=100, deadline=None)
def test_values_never_raise_and_keep_their_form(value: object) -> None:
    masked = MASK.value("x", value)
    assert type(masked) is type(value) or masked == MASKED
    json.dumps(masked)


ADVERSARIAL = {
    "letters": "a",
    "schemes": "a://",
    "logins": "://a:",
    "at signs": "://a:@",
    "names": "password",
    "assignments": "key=",
    "tokens": "token=",
    "quotes": 'token="',
    "escapes": 'token="\\',
    "commas": "password=a,",
    "queries": "?a=&",
    "names in queries": "?" + "a" * 60,
    "basic": "basic ",
    "bearers": "Bearer a",
    "keys": "sk-",
    "web tokens": "eyJ",
    "parts of web tokens": "eyJaaaaaaaaa.",
    "begins": "-----BEGIN PRIVATE KEY-----",
    "dashes": "-",
    "spaces": "password ",
    "blanks": "password" + " " * 8,
    "logins of netrc": "login a ",
    "authorizations": "authorization: ",
    "sendgrid": "SG.a",
    "flags": "wandb login --a",
    "kaggle": '"username": "a',
    "telegram": "12345678:AA",
}


def cost(text: str) -> float:
    """Return the seconds of the processor that masking takes, the best of three."""
    times = []
    for _ in range(3):
        before = time.thread_time()
        MASK.text(text)
        times.append(time.thread_time() - before)
    return min(times)


@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_time_grows_with_the_length_and_not_with_its_square(unit: str) -> None:
    """Eight times the text takes about eight times as long; with the square it would be 64 times."""
    small, large = unit * (8_000 // len(unit)), unit * (64_000 // len(unit))
    assert cost(large) < 0.005 + 30 * cost(small)


def test_threads_may_share_one() -> None:
    failures: list[str] = []

    def work() -> None:
        failures.extend(secret.name for secret in SECRETS if secret.it in MASK.text(secret.text))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
