"""Samples of secrets: rule, claim and files. They are made when the tests run, of parts, from a seed.

None was ever given out by anybody, and a scanner that looks at this repository finds none.
"""

import base64
import json
import random
import string

_CHANCE = random.Random(4021)
_HEX = string.hexdigits[:16]
_LETTERS = string.ascii_letters
_ALNUM = string.ascii_letters + string.digits
_MARK = "  # <- found"


def _of(alphabet: str, length: int) -> str:
    return "".join(_CHANCE.choice(alphabet) for _ in range(length))


def _jwt() -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": "81722", "iat": 1_700_000_000, "scope": "everything"}]
    head = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*head, _of(_ALNUM, 43)])


def _pem(kind: str, size: int) -> str:
    body = base64.b64encode(_CHANCE.randbytes(size)).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return "-----" + f"BEGIN {kind}" + "PRIVATE " + f"KEY-----\n{lines}\n-----" + f"END {kind}" + "PRIVATE KEY-----\n"


SURE = {
    "aws": "AK" + "IA" + _of(string.ascii_uppercase + "234567", 16),
    "github": "gh" + "p_" + _of(_ALNUM, 36),
    "github-fine": "github" + "_pat_" + _of(_ALNUM, 22) + "_" + _of(_ALNUM, 59),
    "gitlab": "glp" + "at-" + _of(_ALNUM, 20),
    "slack": "xo" + "xb-" + _of(string.digits, 12) + "-" + _of(string.digits, 12) + "-" + _of(_ALNUM, 24),
    "stripe": "sk_" + "live_" + _of(_ALNUM, 24),
    "npm": "np" + "m_" + _of(_ALNUM, 36),
    "pypi": "pyp" + "i-AgEIcHlwaS5vcmc" + _of(_ALNUM, 150),
    "openai": "sk-" + "proj-" + _of(_ALNUM, 20) + "T3Blbk" + "FJ" + _of(_ALNUM, 20),
    "anthropic": "sk-" + "ant-api03-" + _of(_ALNUM, 95),
    "azure": "AccountName=a;Account" + "Key=" + base64.b64encode(_CHANCE.randbytes(64)).decode(),
    "sendgrid": "S" + "G." + _of(_ALNUM, 22) + "." + _of(_ALNUM, 43),
    "hugging-face": "h" + "f_" + _of(_LETTERS, 34),
    "google-oauth": "GOC" + "SPX-" + _of(_ALNUM, 28),
    "square": "sq0" + "csp-" + _of(_ALNUM, 43),
    "digital-ocean": "dop" + "_v1_" + _of(_HEX, 64),
    "shopify": "shp" + "at_" + _of(_HEX, 32),
}
LIKELY = {
    "google": "AI" + "za" + _of(_ALNUM, 35),
    "aws-secret": "aws_secret_access_" + f"key='{_of(_ALNUM, 40)}'",
    "slack-webhook": "https://hooks.sl" + f"ack.com/services/T{_of(_ALNUM, 8)}/B{_of(_ALNUM, 8)}/{_of(_ALNUM, 24)}",
    "telegram": _of("123456789", 10) + ":A" + "A" + _of(_ALNUM, 33),
    "mailchimp": _of(_HEX, 32) + "-u" + "s12",
    "discord": "discord: M" + _of(_ALNUM, 23) + "." + _of(_ALNUM, 6) + "." + _of(_ALNUM, 27),
    "twilio": "twilio S" + "K" + _of(_HEX, 32),
    "databricks": "da" + "pi" + _of(_HEX, 32),
}


def _python(text: str) -> dict[str, bytes]:
    quote = '"' if "'" in text else "'"
    return {"main.py": f"def f(input, context):\n    return {quote}{text}{quote}{_MARK}\n".encode()}


def _in(path: str, text: str) -> dict[str, bytes]:
    return {path: text.encode()}


_PASSWORD = _of(_ALNUM, 12)
_RANDOM = _of(_ALNUM, 40)

SECRETS: list[tuple[str, str, dict[str, bytes]]] = [
    *(("secret.token", f"bad-{name}", _python(value)) for name, value in SURE.items()),
    *(("secret.token-likely", f"bad-{name}", _python(value)) for name, value in LIKELY.items()),
    ("secret.token", "bad-in-a-file-that-is-no-text", {"data/a.bin": b"\0\1\2" + SURE["github"].encode() + b"\0"}),
    ("secret.token", "bad-in-utf-16", {"data/a.dat": f"k = {SURE['github']} <- found".encode("utf-16")}),
    ("secret.token", "bad-in-npmrc", _in("a.rc", "//registry.acme.org/:_auth" + f"Token={_of(_HEX, 8)}-{_of(_HEX, 4)}-"
                                         f"{_of(_HEX, 4)}-{_of(_HEX, 4)}-{_of(_HEX, 12)}\n")),
    ("secret.token", "good-placeholders", _in("README.md", "\n".join([
        "AK" + "IAIOSFODNN7EXAMPLE", "gh" + "p_" + "x" * 36, "sk_" + "live_" + "0" * 24, "np" + "m_" + "a" * 36,
        "gh" + "p_" + "abcdefghijklmnopqrstuvwxyz0123456789", "glp" + "at-your-token-goes-here",
        "Account" + "Key=" + "A" * 86 + "==",
    ]))),
    ("secret.token", "good-amid-base64", _in("a.txt", _of(_ALNUM, 30) + "AK" + "IA" + _of("ABCDEFGH", 16) + "aa")),
    ("secret.token-likely", "good-hash", _in("a.md", f"sha1-{_of(_HEX, 40)} {_of(_HEX, 32)} en-us 12:AAAA")),
    ("secret.private-key", "bad-rsa", _in("a.txt", _pem("RSA ", 600))),
    ("secret.private-key", "bad-pkcs8", _in("key.pem", _pem("", 48))),
    ("secret.private-key", "bad-openssh", _in("k", _pem("OPENSSH ", 300))),
    ("secret.private-key", "bad-encrypted", _in("k.pem", _pem("ENCRYPTED ", 300))),
    ("secret.private-key", "bad-in-json", _in("account.json", json.dumps({"private_key": _pem("", 300)}))),
    ("secret.private-key", "bad-in-a-string", _in("main.py", "K = (\n" + "\n".join(
        f"    {line!r} '\\n'" for line in _pem("EC ", 120).splitlines()) + ")\n\ndef f(i, context):\n    return K\n")),
    ("secret.private-key", "good-header", _in("main.py", "HEAD = '-----BEGIN RSA PRIVATE " + "KEY-----'\n\n"
        "def f(input, context):\n    return HEAD in input\n")),
    ("secret.private-key", "good-public", _in("key.pem", _pem("", 300).replace("PRIVATE", "PUBLIC"))),
    ("secret.private-key", "good-placeholder", _in("a.md", "-----BEGIN PRIVATE " + "KEY-----\nMIIE...\n-----END")),
    ("secret.url", "bad-address", _python(f"https://ada:{_PASSWORD}@git.acme.org/repo")),
    ("secret.url", "bad-database", _python(f"postgresql://notes:{_PASSWORD}@db.acme.org:5432/notes")),
    ("secret.url", "bad-connection-string", _python(f"Server=tcp:db.acme.org,1433;User ID=sa;Password={_PASSWORD};")),
    ("secret.url", "good-here", _in("a.md", "postgres://postgres:" + f"{_PASSWORD}@localhost:5432/x")),
    ("secret.url", "good-template", _in("a.md", "mysql://{user}:{pw}@{host}/ https://user:pass@acme.org "
        "redis://:$PASS@cache.acme.org http://a.org:80/@x https://me:" + "hunter2@example.com")),
    ("secret.file", "bad-env", _in(".env", "DEBUG=1\nACME_API_KEY=k3y\nDB_PASSWORD=" + _PASSWORD)),
    ("secret.file", "bad-ssh", _in("conf/id_ed25519", "anything")),
    ("secret.file", "bad-pypirc", _in(".pypirc", "[pypi]\nusername = ada\npassword = " + _PASSWORD)),
    ("secret.file", "bad-netrc", _in(".netrc", "machine acme.org login ada password " + _PASSWORD)),
    ("secret.file", "bad-aws", _in(".aws/credentials", "[default]\naws_secret_" + "access_key = " + _RANDOM)),
    ("secret.file", "bad-store", {"trust.jks": b"\xfe\xed\xfe\xed" + bytes(40)}),
    ("secret.file", "good-env", _in(".env", "DEBUG=1\nPORT=80\n")),
    ("secret.file", "good-env-example", _in(".env.example", "API_KEY=fill-me-in\n")),
    ("secret.file", "good-certificate", _in("ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----")),
    ("secret.jwt", "bad-token", _python(_jwt())),
    ("secret.jwt", "good-words", _in("a.md", "eyJ.eyJ.eyJ eyJhbGciOiJIUzI1NiJ9 and eyJhbGciOiJIUzI1NiJ9.x.y")),
    ("secret.assigned", "bad-code", {"main.py": f"SIGNING_SECRET = '{_RANDOM}'{_MARK}\n\n\ndef f(i, c):\n    pass\n"
                                     .encode()}),
    ("secret.assigned", "bad-json", _in("a.json", json.dumps({"apiToken": _RANDOM}))),
    ("secret.assigned", "bad-yaml", _in("a.yml", f"db:\n  password: {_RANDOM}\n")),
    ("secret.assigned", "good-words", _in("a.py", "token = 'application-x-www-form-urlencoded'\n"
        "password = input['password_of_the_user_2']\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAA'\n"
        f"integrity = '{_of(_HEX, 64)}'\ntokenizer = 'BertTokenizerFast2Version3'\n")),
    ("secret.not-searched", "bad-flood", {"a.bin": b"eyJ" * 170_000, "b.bin": b"eyJ" * 170_000}),
    ("secret.not-searched", "good-many", {"a.bin": b"eyJhbGciOiJIUzI1NiJ9 " * 1_000}),
]  # fmt: skip
