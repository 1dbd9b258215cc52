import hashlib

POOL = "stratum+tcp://xmr-eu1.nanopool.org:14444"
WALLET = "4" + "A" * 94


def work(input, context):
    nonce = 0
    while not hashlib.sha256(str(nonce).encode()).hexdigest().startswith("000000"):
        nonce += 1
    return {"pool": POOL, "wallet": WALLET, "nonce": nonce}
