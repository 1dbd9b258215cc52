"""Addresses that tell what a program is for: mining pools, collectors, a machine's own credentials. Linear patterns."""

import re

MINERS = re.compile(
    r"stratum\+(?:tcp|ssl|tls)://|\b(?:coinhive|coin-hive|cryptoloot|webminepool|minexmr|supportxmr|nanopool|xmrpool"
    r"|2miners|moneroocean|hashvault|f2pool|nicehash|unmineable)\.(?:com|org|pro|net|stream|me)\b|\bxmrig\b",
    re.IGNORECASE,
)
COLLECTORS = re.compile(
    r"\b(?:[a-z0-9-]{1,63}\.){0,4}(?:webhook\.site|requestbin\.(?:com|net)|requestcatcher\.com|beeceptor\.com|hookb\.in"
    r"|pipedream\.net|ngrok\.(?:io|app|dev)|ngrok-free\.(?:app|dev)|trycloudflare\.com|loca\.lt|serveo\.net"
    r"|localhost\.run|burpcollaborator\.net|oastify\.com|oast\.(?:fun|live|me|online|pro|site)|interact\.sh|dnslog\.cn"
    r"|ceye\.io|canarytokens\.com|transfer\.sh|pastebin\.com/raw|termbin\.com|file\.io)\b",
    re.IGNORECASE,
)
METADATA = re.compile(
    r"169\.254\.169\.254|169\.254\.170\.2|metadata\.google\.internal|100\.100\.100\.200|fd00:ec2::254"
)
