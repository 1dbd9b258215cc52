"""The expressions and filters of detect-secrets, as a library that knows no network.

``checks/secrets.py`` asks it about places that a quick search pointed out. Which of the library's detectors are used,
where to look for each and how sure its shape is, says ``KINDS``; the expressions are the library's own, but for some
vendors that it does not know (``_MORE``).
"""

import functools
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

SURE, LIKELY, KEY, JWT, URL = "secret.token", "secret.token-likely", "secret.private-key", "secret.jwt", "secret.url"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of secret: the bytes by which it is noticed, and how far around them the expressions look.

    ``words`` are such that one must be somewhere in the file, in any case, for shapes that are not rare by themselves.
    ``alone`` says that letters and digits right beside the match make it a part of something else.
    """

    name: str
    rule: str
    detector: str  # module and class in detect_secrets.plugins, or a name in _MORE
    anchors: tuple[bytes, ...]
    before: int
    after: int
    words: tuple[bytes, ...] = ()
    alone: bool = True


_ASSIGNED = (b"key", b"pwd", b"pw", b"pass", b"token")
KINDS = (
    Kind("a private key", KEY, "private_key.PrivateKeyDetector", (b"PRIVATE KEY", b"PuTTY-User-Key-File-"), 40, 40,
         alone=False),
    Kind("an AWS access key", SURE, "aws.AWSKeyDetector", (b"AKIA", b"ASIA", b"ABIA", b"ACCA", b"A3T"), 1, 22),
    Kind("an AWS secret key", LIKELY, "aws.AWSKeyDetector", (b"aws", b"AWS", b"Aws"), 0, 110, alone=False),
    Kind("a GitHub token", SURE, "github_token.GitHubTokenDetector", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), 1,
         45),
    Kind("a GitHub token", SURE, "github", (b"github_pat_",), 1, 110),
    Kind("a GitLab token", SURE, "gitlab_token.GitLabTokenDetector",
         (b"glpat-", b"gldt-", b"glft-", b"glsoat-", b"glrt-", b"glcbt-", b"glimt-", b"glptt-", b"glagent-", b"gloas-",
          b"GR1348941"), 1, 120),
    Kind("a Slack token", SURE, "slack.SlackDetector", (b"xoxa-", b"xoxb-", b"xoxp-", b"xoxo-", b"xoxs-", b"xoxr-"), 1,
         120),
    Kind("a Slack webhook", LIKELY, "slack.SlackDetector", (b"hooks.slack.com/services/",), 8, 140, alone=False),
    Kind("a Stripe key", SURE, "stripe.StripeDetector", (b"k_live_",), 2, 110),
    Kind("an npm token", SURE, "npm.NpmDetector", (b":_authToken",), 80, 100, alone=False),
    Kind("an npm token", SURE, "npm", (b"npm_",), 1, 45),
    Kind("a PyPI token", SURE, "pypi_token.PypiTokenDetector", (b"pypi-AgE",), 1, 300),
    Kind("an OpenAI key", SURE, "openai.OpenAIDetector", (b"T3BlbkFJ",), 180, 180),
    Kind("an Anthropic key", SURE, "anthropic", (b"sk-ant-",), 1, 140),
    Kind("a Google API key", LIKELY, "google", (b"AIza",), 1, 45),
    Kind("a Google OAuth secret", SURE, "google-oauth", (b"GOCSPX-",), 1, 45),
    Kind("a Hugging Face token", SURE, "hugging-face", (b"hf_",), 1, 45),
    Kind("a DigitalOcean token", SURE, "digital-ocean", (b"dop_v1_", b"doo_v1_", b"dor_v1_"), 1, 80),
    Kind("a Databricks token", LIKELY, "databricks", (b"dapi",), 1, 45),
    Kind("a Shopify token", SURE, "shopify", (b"shpat_", b"shpca_", b"shppa_", b"shpss_"), 1, 45),
    Kind("an Azure storage key", SURE, "azure_storage_key.AzureStorageKeyDetector", (b"AccountKey=",), 0, 110,
         alone=False),
    Kind("a SendGrid key", SURE, "sendgrid.SendGridDetector", (b"SG.",), 1, 80),
    Kind("a Square OAuth secret", SURE, "square_oauth.SquareOAuthDetector", (b"sq0csp-",), 1, 60),
    Kind("a JSON Web Token", JWT, "jwt.JwtTokenDetector", (b"eyJ",), 0, 2_000, alone=False),
    Kind("a password in an address", URL, "basic_auth.BasicAuthDetector", (b"://",), 24, 200, alone=False),
    Kind("a Telegram bot token", LIKELY, "telegram_token.TelegramBotTokenDetector", (b":AA",), 12, 45),
    Kind("a Mailchimp key", LIKELY, "mailchimp.MailchimpDetector", (b"-us",), 34, 8),
    Kind("a Discord bot token", LIKELY, "discord.DiscordBotTokenDetector", (b"M", b"N", b"O"), 1, 70, (b"discord",)),
    Kind("a Twilio key", LIKELY, "twilio.TwilioKeyDetector", (b"SK",), 1, 40, (b"twilio",)),
    Kind("an Artifactory credential", LIKELY, "artifactory.ArtifactoryDetector", (b"AKC", b"AP"), 2, 120,
         (b"artifactory",), alone=False),
    Kind("an IBM Cloud key", LIKELY, "ibm_cloud_iam.IbmCloudIamDetector", _ASSIGNED, 30, 80, (b"ibm",), alone=False),
    Kind("an IBM storage key", LIKELY, "ibm_cos_hmac.IbmCosHmacDetector", (b"secret",), 30, 110, (b"ibm", b"cos_hmac"),
         alone=False),
    Kind("a Cloudant credential", LIKELY, "cloudant.CloudantDetector", (*_ASSIGNED, b"cloudant.com"), 120, 100,
         (b"cloudant",), alone=False),
    Kind("a SoftLayer credential", LIKELY, "softlayer.SoftlayerDetector", (*_ASSIGNED, b"softlayer.com"), 40, 110,
         (b"softlayer",), alone=False),
)  # fmt: skip

UNUSED = {
    "ip_public.IPPublicDetector": "an address is no secret",
    "keyword.KeywordDetector": "its words are used, its expressions take quadratic time on hostile lines",
    "high_entropy_strings.Base64HighEntropyString": "its measure is used, where a word says that it is a secret",
    "high_entropy_strings.HexHighEntropyString": "its measure is used, where a word says that it is a secret",
}
"""Detectors of the library that are not used as they are, and why."""

_MORE = {
    "github": r"github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}",
    "npm": r"npm_[0-9A-Za-z]{36}",
    "anthropic": r"sk-ant-[a-z]{3,8}[0-9]{2}-[0-9A-Za-z_-]{80,120}",
    "google": r"AIza[0-9A-Za-z_-]{35}",
    "google-oauth": r"GOCSPX-[0-9A-Za-z_-]{28}",
    "hugging-face": r"hf_[A-Za-z]{34}",
    "digital-ocean": r"do[opr]_v1_[0-9a-f]{64}",
    "databricks": r"dapi[0-9a-f]{32}(?:-[0-9])?",
    "shopify": r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
}


@dataclass(frozen=True)
class Detector:
    """What was loaded. ``words`` begin an assignment of a secret, as expressions in lower case."""

    expressions: dict[str, tuple[re.Pattern[str], ...]]
    words: tuple[str, ...]
    is_token: Callable[[str], bool]
    base64_entropy: Callable[[str], float]
    hex_entropy: Callable[[str], float]
    filters: tuple[Callable[[str], bool], ...]

    def matches(self, kind: Kind, text: str) -> Iterator[tuple[int, int]]:
        """Where a secret of this kind lies in a short text."""
        for expression in self.expressions[kind.detector]:
            # One attempt where the shape begins with its anchor: a search would try each place of a run anew.
            for found in expression.finditer(text) if kind.before else filter(None, [expression.match(text)]):
                # The group that the library marks as the secret, or all of it.
                yield found.span(found.lastindex if kind.rule == URL and found.lastindex else 0)

    def placeholder(self, secret: str) -> bool:
        """Whether it is a word that stands for a secret: a template, a sequence, a repetition, an example."""
        return bool(_STANDS_FOR.search(secret)) or any(one(secret) for one in self.filters)


_STANDS_FOR = re.compile(
    r"(?i)example|placeholder|dummy|sample|changeme|change[_-]me|redacted|x{5}|\*{3}|\.{3}|0{6}|1234567|abcdef|"
    r"your|insert|secret_?key|fake|todo|\b(?:user(?:name)?|pass(?:word|wd)?|pwd|token|secret|foo|bar|test)\b"
)


@functools.cache
def load() -> Detector:
    """Load the library; takes about a tenth of a second. Whatever runs in a jail calls it before the jail closes."""
    with _without_network():
        expressions = {
            kind.detector: tuple(_plugin(kind.detector).denylist) for kind in KINDS if kind.detector not in _MORE
        }
        entropy = import_module("detect_secrets.plugins.high_entropy_strings")
        heuristic = import_module("detect_secrets.filters.heuristic")
        words = import_module("detect_secrets.plugins.keyword").DENYLIST
    expressions |= {name: (re.compile(text),) for name, text in _MORE.items()}
    # The library leaves out keys that a password protects; a password can be guessed by whoever has the file.
    expressions["private_key.PrivateKeyDetector"] += (re.compile("BEGIN ENCRYPTED PRIVATE KEY"),)
    return Detector(
        expressions,
        tuple(word for word in words if word.isascii()),
        _plugin("jwt.JwtTokenDetector").is_formally_valid,
        entropy.Base64HighEntropyString().calculate_shannon_entropy,
        entropy.HexHighEntropyString().calculate_shannon_entropy,
        (
            heuristic.is_sequential_string,
            heuristic.is_templated_secret,
            heuristic.is_not_alphanumeric_string,
            heuristic.is_prefixed_with_dollar_sign,
        ),
    )


def entropy_of(text: str) -> float:
    """Shannon's entropy of the characters, in bits for each."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _plugin(name: str) -> Any:
    module, _, attribute = name.partition(".")
    return getattr(import_module(f"detect_secrets.plugins.{module}"), attribute)


@contextmanager
def _without_network() -> Iterator[None]:
    """Let the library find no HTTP client while it loads.

    It imports ``requests`` for the verification of secrets by their vendors, which must never happen here, and which
    costs more time to load than all the rest.
    """
    if "requests" in sys.modules:
        yield
        return
    none = ModuleType("requests")
    none.exceptions = SimpleNamespace(RequestException=OSError)  # type: ignore[attr-defined]
    none.Response = object  # type: ignore[attr-defined]
    sys.modules["requests"] = none
    try:
        yield
    finally:
        del sys.modules["requests"]
