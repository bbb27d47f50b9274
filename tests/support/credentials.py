"""Shapes of credentials, and of what only looks like one.

None of them is or was anybody's: each is put together here, of a prefix and of letters drawn with a fixed seed.
"""

from __future__ import annotations

import base64
import json
import random
import string
from dataclasses import dataclass

LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
URL_SAFE = LETTERS + "_-"
BASE64 = LETTERS + "+/"


@dataclass(frozen=True)
class Secret:
    """A text, and what of it nobody may see."""

    name: str
    text: str
    it: str


def secrets() -> list[Secret]:
    """Return a text for every kind of credential."""
    return [*_keys(), *_named(), *_in_urls(), *_in_headers(), *_in_files()]


def drawn(alphabet: str, length: int, seed: object) -> str:
    """Return letters that are always the same for a seed, some digits and some letters among them."""
    source = random.Random(f"{seed}")
    letters = [source.choice(alphabet) for _ in range(length)]
    letters[1], letters[2] = "7", "a" if "a" in alphabet else "A"
    return "".join(letters)


def private_key(kind: str = "RSA PRIVATE KEY", lines: int = 12) -> tuple[str, list[str]]:
    """Return a block of PEM, and its lines of base64."""
    body = [drawn(BASE64, 64, (kind, i)) for i in range(lines)]
    dashes = "-" * 5
    return "\n".join([f"{dashes}BEGIN {kind}{dashes}", *body, f"{dashes}END {kind}{dashes}"]), body


def web_token() -> str:
    """Return a JSON web token."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return ".".join((part({"alg": "HS256", "typ": "JWT"}), part({"sub": "1", "name": "Jo"}), drawn(URL_SAFE, 43, "jwt")))


def neptune_token() -> str:
    """Return a token of Neptune."""
    told = {"api_address": "https://app.neptune.ai", "api_url": "https://app.neptune.ai", "api_key": drawn(HEX, 32, "n")}
    return base64.b64encode(json.dumps(told).encode()).decode()


_PREFIXED = (
    ("aws access key id", "AKI" + "A", string.ascii_uppercase + "234567", 16),
    ("aws session key id", "ASI" + "A", string.ascii_uppercase + "234567", 16),
    ("google api key", "AIz" + "a", URL_SAFE, 35),
    ("google oauth secret", "GOCSP" + "X-", URL_SAFE, 28),
    ("google access token", "ya2" + "9.", URL_SAFE, 60),
    ("github personal", "gh" + "p_", LETTERS, 36),
    ("github server", "gh" + "s_", LETTERS, 36),
    ("github oauth", "gh" + "o_", LETTERS, 36),
    ("github fine-grained", "github_" + "pat_", LETTERS, 82),
    ("gitlab personal", "glpa" + "t-", URL_SAFE, 20),
    ("gitlab runner", "glr" + "t-", URL_SAFE, 20),
    ("slack bot", "xox" + "b-123456789012-1234567890123-", LETTERS, 24),
    ("slack user", "xox" + "p-123456789012-", LETTERS, 32),
    ("slack app", "xap" + "p-1-A0123456789-", LETTERS, 40),
    ("stripe live", "sk_li" + "ve_", LETTERS, 24),
    ("stripe restricted", "rk_te" + "st_", LETTERS, 24),
    ("stripe webhook", "whse" + "c_", LETTERS, 32),
    ("openai", "s" + "k-", LETTERS, 48),
    ("openai project", "s" + "k-proj-", URL_SAFE, 100),
    ("openai service account", "s" + "k-svcacct-", URL_SAFE, 60),
    ("openrouter", "s" + "k-or-v1-", HEX, 64),
    ("anthropic", "s" + "k-ant-api03-", URL_SAFE, 90),
    ("hugging face", "h" + "f_", LETTERS, 34),
    ("wandb", "wand" + "b_v1_", LETTERS, 60),
    ("databricks", "dap" + "i", HEX, 32),
    ("npm", "np" + "m_", LETTERS, 36),
    ("pypi", "pyp" + "i-AgEIcHlwaS5vcmc", URL_SAFE, 120),
    ("sendgrid", "S" + "G." + "Ab3-" * 5 + "xy.", URL_SAFE, 43),
    ("digitalocean", "do" + "p_v1_", HEX, 64),
    ("docker hub", "dckr_" + "pat_", URL_SAFE, 27),
    ("vault", "hv" + "s.", URL_SAFE, 90),
    ("grafana", "gls" + "a_", LETTERS, 41),
    ("groq", "gs" + "k_", LETTERS, 52),
    ("nvidia", "nvap" + "i-", URL_SAFE, 64),
    ("replicate", "r" + "8_", LETTERS, 37),
    ("langsmith", "lsv" + "2_pt_", HEX, 32),
    ("perplexity", "ppl" + "x-", LETTERS, 48),
    ("xai", "xa" + "i-", LETTERS, 80),
)


def _keys() -> list[Secret]:
    found = []
    for name, prefix, alphabet, length in _PREFIXED:
        key = prefix + drawn(alphabet, length - 1, name) + "Z" if alphabet == URL_SAFE else prefix + drawn(alphabet, length, name)
        found += [
            Secret(f"{name}, alone", key, key),
            Secret(f"{name}, in a line", f"2026-01-01 INFO connecting with {key}, please wait", key),
            Secret(f"{name}, quoted", f"client = Client('{key}')", key),
            Secret(f"{name}, a setting", f"X={key};y=3", key),
        ]
    token, neptune = web_token(), neptune_token()
    hook = drawn(LETTERS, 24, "hook")
    return [
        *found,
        Secret("json web token", f"got {token}.", token),
        Secret("neptune", f"init(api={neptune!r})", neptune),
        Secret("slack webhook", f"https://hooks.slack.com/services/T01234567/B01234567/{hook}", hook),
        Secret(
            "discord webhook", f"https://discord.com/api/webhooks/123456789012345678/{drawn(URL_SAFE, 68, 'd')}", drawn(URL_SAFE, 68, "d")
        ),
        Secret("telegram bot", f"bot 123456789:AA{drawn(URL_SAFE, 32, 't')}x starts", drawn(URL_SAFE, 32, "t")),
    ]


def _named() -> list[Secret]:
    aws, azure, hexes, word = drawn(BASE64, 40, "aws"), drawn(BASE64, 86, "azure") + "==", drawn(HEX, 40, "wandb"), "hunter2-" + "Zx"
    texts = (
        (aws, "aws_secret_access_key = {}"),
        (aws, 'export AWS_SECRET_ACCESS_KEY="{}"'),
        (aws, '"secretAccessKey": "{}",'),
        (aws, "boto3.client('s3', aws_secret_access_key='{}', region_name='eu-west-1')"),
        (aws, r'"{{\"SecretAccessKey\": \"{}\"}}"'),
        (azure, "DefaultEndpointsProtocol=https;AccountName=store;AccountKey={};EndpointSuffix=core.windows.net"),
        (azure, "Endpoint=sb://bus.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={}"),
        (hexes, "WANDB_API_KEY={}"),
        (hexes, "wandb login {}"),
        (hexes, "wandb login --relogin {}"),
        (hexes, "machine api.wandb.ai login user password {}"),
        (hexes, "COMET_API_KEY: {}"),
        (drawn(HEX, 32, "kaggle"), '{{"username":"jo","key":"{}"}}'),
        (drawn(HEX, 32, "dd"), "DD_API_KEY={} python train.py"),
        (drawn(HEX, 32, "dd"), "DD_APP_KEY={} python train.py"),
        (word, "password={}"),
        (word, "password: {}"),
        (word, "PGPASSWORD={} psql"),
        (word, "db.password = '{}'"),
        (word, "++db.password={}"),
        (word, "python train.py --password {} --epochs 3"),
        (word, "python train.py --db-password={} --epochs 3"),
        (word, "python train.py --auth-token {}"),
        (word, "host=db user=me password={} dbname=runs"),
        (word, "Server=db;Database=runs;User Id=me;Password={};Encrypt=true"),
        (word, "Server=db;Uid=me;Pwd={};"),
        (word, "Config(user='me', password='{}', port=5432)"),
        (word, "Config(user=me, password={}, port=5432)"),
        (word, "{{'user': 'me', 'clientSecret': '{}'}}"),
        (word, "passphrase={}"),
        (word, "MYSQL_PWD={}"),
        (word, "smtp_pass: {}"),
        (word, "secret: {}"),
        (word, "api-key: {}"),
        (word, "apiKey={}"),
        (word, "API_KEY_PROD={}"),
        (word, "os.environ['HF_TOKEN'] = '{}'"),
        (word, "Set-Cookie: session_cookie={}; Path=/"),
        ("Abc123" + "defGHI456", "token={}"),
        ("Abc123" + "defGHI456", "--token {}"),
        ("Abc123" + "defGHI456", "ACTIONS_RUNTIME_TOKEN={}"),
        ("Abc123" + "defGHI456", "login with token: {} failed"),
        ("with, a comma; and 'more", 'password = "{}"'),
        ('with \\" an escape', 'password = "{}"'),
    )
    return [Secret(text, text.format(it), it) for it, text in texts]


def _in_urls() -> list[Secret]:
    word, signed = "hunter2" + "Zx", drawn(HEX, 64, "sig")
    sas = drawn(LETTERS, 43, "sas") + "%3D"
    texts = (
        (word, "postgresql://me:{}@db.example.org:5432/runs"),
        (word, "postgresql+psycopg://me:{}@db/runs?sslmode=require"),
        (word, "redis://:{}@cache:6379/0"),
        (word, "mongodb+srv://me:{}@a.example.org,b.example.org/db"),
        (word, "amqp://me:{}@rabbit:5672//"),
        (word, "https://me:{}@example.org/x.git"),
        (word, "https://{}@github.com/x/y.git"),
        (word, "git+https://{}:x-oauth-basic@github.com/x/y.git"),
        (word, "cannot connect to mysql://root:{}@10.0.0.1/db: refused"),
        (word + "@" + word, "ftp://me:{}@host/file"),
        (word, "https://proxy.example.org/?user=me&password={}&x=1"),
        (word, "jdbc:postgresql://db/runs?user=me&password={}"),
        (word, "GET /v1/models?api_key={} HTTP/1.1"),
        (word, "https://example.org/cb#access_token=a&access_token={}"),
        (signed, "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-Signature={}"),
        (signed, "https://storage.googleapis.com/b/k?X-Goog-Expires=60&X-Goog-Signature={}&x=1"),
        (sas, "https://store.blob.core.windows.net/c/k?sv=2022-11-02&sp=r&sig={}&se=2026"),
        (sas, "SharedAccessSignature=sv=2022-11-02&sp=r&sig={}"),
        ("FQoG" + drawn(LETTERS, 90, "session"), "https://b.s3.amazonaws.com/k?X-Amz-Security-Token={}&X-Amz-Date=20260101"),
    )
    return [Secret(text, text.format(it), it) for it, text in texts]


def _in_headers() -> list[Secret]:
    login = base64.b64encode(b"me:hunter2Zx").decode()
    bearer = drawn(LETTERS, 24, "bearer")
    texts = (
        (bearer, "Authorization: Bearer {}"),
        (bearer, "{{'Authorization': 'Bearer {}'}}"),
        (bearer, "curl -H 'authorization: bearer {}' https://example.org"),
        (bearer, "Authorization: token {}"),
        (login, "Authorization: Basic {}"),
        (login, '"auths": {{"registry": {{"auth": "{}"}}}}'),
        (drawn(HEX, 64, "v4"), "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/eu/s3/aws4_request, Signature={}"),
        (bearer, "X-Api-Key: {}"),
        (bearer, "x-auth-token: {}"),
        (bearer, "//registry.npmjs.org/:_authToken={}"),
    )
    return [Secret(text, text.format(it), it) for it, text in texts]


def _in_files() -> list[Secret]:
    found = []
    for kind in ("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"):
        block, lines = private_key(kind)
        found += [Secret(kind, f"before\n{block}\nafter", line) for line in lines[:2]]
    block, lines = private_key("PRIVATE KEY", 26)
    account = json.dumps({"type": "service_account", "project_id": "p", "private_key_id": drawn(HEX, 40, "id"), "private_key": block})
    return [*found, Secret("a service account", account, lines[3]), Secret("a cut key", "\n".join(block.splitlines()[:9]), lines[3])]


NEAR_MISSES = (
    "3f786850e387550fdab836ed7e6dc881de23001b",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b (HEAD -> main)",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  model.pt",
    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "wandb: Run data is saved locally in wandb/run-20260101_120000-3f786850",
    "wandb: Currently logged in as: jo (team). Use `wandb login --relogin` to force relogin",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "tokenizer=bert-base-uncased",
    "tokenizer: gpt2",
    "--tokenizer bert-base-uncased --max-tokens 512",
    "max_tokens=4096 max_new_tokens=128 n_tokens=2048 token_count=7",
    "tokens: 1,234,567",
    "tokens/s=1234.5, tokens_per_second: 99.1",
    "eos_token='</s>' pad_token='[PAD]' bos_token=<s> unk_token: <unk>",
    "eos_token=endoftext2 stop_token: END12345",
    "next_token: 151643 token=42 token: hello",
    "SyntaxError: Unexpected token: '}' at line 3",
    "KeyError: 'lr'",
    "key=value",
    "key: 0a1b2c3d4e5f",
    "keypoints=17 num_keypoints: 17 keypoint_weights=[1, 1.5]",
    "primary_key=id, foreign_key: run_id, sort_key='time2026'",
    "PRNGKey(0) key=[0 42]",
    "cache_key=3f786850e387550f",
    "public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF0 jo@host",
    "secret_santa=jo2026",
    "the secret is out: we won",
    "author=Jo Doe <jo@example.org>",
    "authority: example.org",
    "passwords.txt",
    "wordlist=/usr/share/passwords.txt",
    "open('secrets.py') failed",
    "passes=3 num_passes: 2 bypass=1 pass=2 forward_pass: 1.5ms",
    "PWD=/home/jo/project OLDPWD=/home/jo",
    "GOOGLE_APPLICATION_CREDENTIALS=/home/jo/key.json",
    "private_key: ~/.ssh/id_ed25519",
    "s3://bucket/path/to/file.parquet",
    "gs://bucket/model.pt",
    "hdfs://namenode:8020/data",
    "jo@example.org",
    "git@github.com:x/y.git",
    "ssh://git@github.com/x/y.git",
    "git+ssh://git@github.com/x/y.git",
    "https://github.com/x/y.git",
    "https://host:8080/",
    "http://127.0.0.1:5000/#/experiments/1",
    "https://example.org/@jo/post?id=5&page=2",
    "https://example.org/?q=token&lang=en",
    "docker://python:3.11@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "postgresql://db.example.org/runs",
    "sqlite:///mlflow.db",
    "postgresql://me@db/runs",
    "AbstractSingletonProxyFactoryBeanWithAVeryLongNameIndeed",
    "transformers.models.bert.modeling_bert.BertForSequenceClassification",
    "sk-learn-pipeline-with-a-long-name-2",
    "task-1 risk-averse disk-usage",
    "desk-lamp-classification-experiment-2026-01-01-run-12",
    "hf_hub_download hf_transformers_cache_directory_location",
    "numpy==2.1.0 --hash=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "asia-northeast1 europe-west4",
    "ASIA PACIFIC",
    "eyJhbGciOiJub25lIn0",
    "checkpoint-3f786850e387550fdab836ed7e6dc881de23001b.pt",
    "Basic training, basic usage and basic12345 things",
    "bearer of good news and bearers everywhere",
    "password=***",
    "password=${DB_PASSWORD}",
    "password: <redacted>",
    "password=None token=None api_key=None",
    "OPENAI_API_KEY: ${{ secrets.OPENAI_API_KEY }}",
    "aws s3api list-objects --page-token eyJvZmZzZXQiOiA1MH0x",
    "Authorization: https://tools.example.org/html/rfc6749",
    "token = get_token()",
    "def login(password: str, token: Optional[str] = None) -> None:",
    "use_auth_token=True",
    "has_password=yes no_token=1",
    "Enter password: ",
    "-----BEGIN PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----",
    "Missing key(s) in state_dict: 'fc.weight'",
    "signature=inputs: ['x': double] outputs: ['y': double]",
    "ViT(pool='token', dist_token=True, num_register_tokens=4, cls_token='learned2')",
    "Epoch 12/100: 100%|#####| 938/938 [00:12<00:00, 75.3it/s] train/loss=0.2312 val_acc=0.9312 lr=1e-3",
    "Größe=3 naïve=1 日本語のテキスト key=値",
    "",
)

CODE = (
    "api_key=os.environ['API_KEY']",
    "Client(api_key=api_key, token=self.token)",
)
"""Near misses too, where they are no arguments of a command."""
