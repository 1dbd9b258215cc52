"""What a publisher runs: ``keygen`` and ``sign`` without a service, ``publisher`` for the keys that a service knows."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from plugyard.cli.author import AsJson, packed
from plugyard.cli.failure import Failure
from plugyard.cli.output import print_json, printable
from plugyard.cli.reach import HERE, Reach
from plugyard.domain.signatures import key_id_of, proof_statement, statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KeyFile = Annotated[Path, Parameter(help="The private key, as keygen or openssl made it (PEM, PKCS #8).")]


def register(app: App) -> None:
    """Add the publisher's commands to the command line."""
    app.command(keygen)
    app.command(sign)
    group = App(name="publisher", help="Publisher keys that a service knows, and the name that a tenant publishes by.")
    group.command(show)
    group.command(register_key, name="register")
    group.command(list_keys, name="keys")
    group.command(revoke)
    group.command(verify)
    group.command(unverify)
    app.command(group)


@dataclass(frozen=True)
class SigningKey:
    """A private key from a file, and the public half that names it."""

    private: "Ed25519PrivateKey"

    @classmethod
    def read(cls, path: Path) -> "SigningKey":
        """The key in a file; raises ``Failure`` for what is none."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise Failure(f"cannot read the key: {error}") from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Failure(f"{path} is no private key in PEM without a passphrase: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise Failure(f"{path} is no Ed25519 key; make one with: plugyard keygen")
        return cls(key)

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public half."""
        return self.private.public_key().public_bytes_raw()

    def proof(self, tenant_id: str) -> str:
        """What shows a service, for one tenant, that the private half is here; base64."""
        return _text(self.private.sign(proof_statement(tenant_id, self.public)))

    def signature_of(self, package: Path) -> dict[str, str]:
        """What a signature file holds for this package."""
        with package.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {
            "digest": f"sha256:{digest}",
            "keyId": key_id_of(self.public),
            "publicKey": _text(self.public),
            "signature": _text(self.private.sign(statement(digest))),
        }


def keygen(output: Path = Path("publisher.pem"), /, *, as_json: AsJson = False) -> None:
    """Make a key that signs packages. The file is readable by its owner alone; whoever has it signs as you.

    For example:

    ```
    plugyard keygen
    plugyard keygen keys/release.pem
    ```
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = SigningKey(Ed25519PrivateKey.generate())
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except FileExistsError:
        raise Failure(f"{output} is there already; a key that is overwritten cannot be had back") from None
    except OSError as error:
        raise Failure(f"cannot write the key: {error}") from error
    made = {"file": str(output), "keyId": key_id_of(key.public), "publicKey": _text(key.public)}
    if as_json:
        print_json(made)
        return
    print(f"Made {output}  (key {made['keyId']})\nKeep it secret and keep a copy.")
    print(f"Next, as an admin: plugyard publisher register {output} --name 'release machine'")


def sign(
    package: Path,
    /,
    *,
    signing_key: KeyFile = Path("publisher.pem"),
    output: Annotated[Path | None, Parameter(help="Where to write it; by default PACKAGE.sig.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sign a package, or a folder that is packed first, on this machine: the signature goes into a file of its own.

    For example:

    ```
    plugyard sign hello-1.0.0.zip
    plugyard sign hello --signing-key keys/release.pem --output hello.sig
    ```
    """
    key = SigningKey.read(signing_key)
    archive = packed(package)
    target = output or archive.with_name(archive.name + ".sig")
    made = key.signature_of(archive)
    target.write_text(json.dumps(made, indent=2) + "\n", "utf-8")
    if as_json:
        print_json({"package": str(archive), "file": str(target), **made})
        return
    print(f"Signed {archive} with the key {made['keyId']}\nNext: plugyard upload {archive} --signature {target}")


def signature_for(package: Path, signing_key: Path | None, signature: Path | None) -> dict[str, str]:
    """The form fields that go with an upload: signed now, read from a file, or none."""
    if signing_key is not None and signature is not None:
        raise Failure("give --sign or --signature, not both")
    if signing_key is not None:
        made = SigningKey.read(signing_key).signature_of(package)
    elif signature is not None:
        try:
            made = json.loads(signature.read_text("utf-8"))
            return {"signature": str(made["signature"]), "keyId": str(made["keyId"])}
        except OSError as error:
            raise Failure(f"cannot read the signature: {error}") from error
        except (ValueError, KeyError, TypeError):
            raise Failure(f"{signature} is no signature file; make one with: plugyard sign PACKAGE") from None
    else:
        return {}
    return {"signature": made["signature"], "keyId": made["keyId"]}


def show(*, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """Show the name that your tenant publishes by, and whether the operator vouches for it.

    For example:

    ```
    plugyard publisher show
    ```
    """
    with reach.client() as client:
        _tell_publisher(client.call("GET", "/api/v1/publisher"), as_json=as_json)


def register_key(
    signing_key: KeyFile,
    /,
    *,
    name: Annotated[str, Parameter(help="A name to know the key by.")],
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Register a key at a service, so that it takes what the key signs. The private half stays on this machine.

    For example:

    ```
    plugyard publisher register publisher.pem --name "release machine"
    ```
    """
    own = SigningKey.read(signing_key)
    with reach.client() as client:
        tenant_id = client.call("GET", "/api/v1/tenant")["id"]
        body = {"name": name, "publicKey": _text(own.public), "proof": own.proof(tenant_id)}
        made = client.call("POST", "/api/v1/publisher-keys", json=body)
    if as_json:
        print_json(made)
        return
    print(
        f"Registered {printable(made['name'])}  (key {made['id']})\nNext: plugyard upload PLUGIN --sign {signing_key}"
    )


def list_keys(*, reach: Reach = HERE, as_json: AsJson = False) -> None:
    """List the publisher keys of your tenant, revoked ones too.

    For example:

    ```
    plugyard publisher keys
    plugyard publisher keys --json
    ```
    """
    with reach.client() as client:
        found = list(client.all("/api/v1/publisher-keys"))
    if as_json:
        print_json(found)
        return
    for one in found:
        print(_key_line(one))
    if not found:
        print("There is no publisher key yet. Make one: plugyard keygen")


def revoke(
    key_id: str,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; whoever installed what it signed reads it.")],
    since: Annotated[
        str | None, Parameter(help="From when its signatures count no more (RFC 3339); by default from now.")
    ] = None,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Revoke a publisher key. What was uploaded with it before stays signed, unless --since reaches further back.

    For example:

    ```
    plugyard publisher revoke 3b6a27bc... --reason "The machine is retired."
    plugyard publisher revoke 3b6a27bc... --reason "It leaked." --since 2026-11-02T00:00:00Z
    ```
    """
    body = {"reason": reason, "invalidFrom": since}
    with reach.client() as client:
        done = client.call("POST", f"/api/v1/publisher-keys/{key_id}/revoke", json=body)
    if as_json:
        print_json(done)
    else:
        print(_key_line(done))


def verify(
    tenant: str,
    /,
    *,
    name: Annotated[str, Parameter(help="The name that the tenant publishes by.")],
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """As an operator, vouch for the name that a tenant publishes by: it shows as a verified publisher.

    For example:

    ```
    plugyard publisher verify acme --name "Acme Incorporated"
    ```
    """
    _name_publisher(tenant, {"name": name, "verified": True}, reach, as_json=as_json)


def unverify(
    tenant: str,
    /,
    *,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """As an operator, cease to vouch for a tenant's name, which it keeps.

    For example:

    ```
    plugyard publisher unverify acme
    ```
    """
    _name_publisher(tenant, {"verified": False}, reach, as_json=as_json)


def _name_publisher(tenant: str, body: dict[str, Any], reach: Reach, *, as_json: bool) -> None:
    with reach.client(whose="operator") as client:
        found = next((one for one in client.all("/api/v1/tenants") if tenant in (one["slug"], one["id"])), None)
        if found is None:
            raise Failure(f"there is no tenant {tenant}")
        path = f"/api/v1/tenants/{found['id']}/publisher"
        body = {"name": client.call("GET", path)["name"], **body}
        _tell_publisher(client.call("PUT", path, json=body), as_json=as_json)


def _tell_publisher(one: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    print(f"{printable(one['name'])} is " + ("a verified publisher" if one["verified"] else "no verified publisher"))


def _key_line(one: dict[str, Any]) -> str:
    stands = f"revoked, with what it signed since {one['invalidFrom']}: {printable(one['revokedBecause'])}"
    return f"{one['id']}  {printable(one['name'])}  {stands if one['revokedAt'] else 'signs'}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
