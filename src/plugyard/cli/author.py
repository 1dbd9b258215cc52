"""What an author runs: ``new``, ``check``, ``pack``, ``upload``, ``execute``."""

import json
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from plugyard.cli.failure import Failure
from plugyard.cli.findings import finding_lines
from plugyard.cli.output import print_json, printable
from plugyard.cli.reach import HERE, Reach
from plugyard.settings import CONFIG_FILE

LEFT_OUT = {"node_modules", "__pycache__", "dist", ".git", ".venv", ".DS_Store"}

TEMPLATES = {
    "python": {
        "plugin.json": """{
  "metadata": {"name": "NAME", "version": "1.0.0", "description": "Greets whoever it is given."},
  "runtime": "python",
  "functions": {
    "greet": {
      "description": "A greeting for a name.",
      "input": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 100}}, "required": ["name"]},
      "effect": "read"
    }
  }
}
""",
        "main.py": """def greet(input, context):
    context.services.logger.info("greeting", name=input["name"])
    return {"greeting": f"Hello, {input['name']}!"}
""",
    },
    "javascript": {
        "plugin.json": """{
  "metadata": {"name": "NAME", "version": "1.0.0", "description": "Greets whoever it is given."},
  "runtime": "javascript",
  "functions": {
    "greet": {
      "description": "A greeting for a name.",
      "input": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 100}}, "required": ["name"]},
      "effect": "read"
    }
  }
}
""",
        "index.ts": """export function greet(input: { name: string }, context) {
  context.services.logger.info("greeting", { name: input.name });
  return { greeting: `Hello, ${input.name}!` };
}
""",
    },
}

Form = Annotated[Literal["text", "json", "sarif"], Parameter(name="--format", help="The form of the report.")]
Rules = Annotated[
    list[str] | None,
    Parameter(name="--rule", negative="", help="Set a rule, as RULE=off or RULE=SEVERITY,CONSEQUENCE."),
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for a program to read.")]


def register(app: App) -> None:
    """Add the author's commands to the command line."""
    for command in (new, check, pack, upload, execute):
        app.command(command)


def new(folder: Path, /, *, runtime: Annotated[str, Parameter(help="python or javascript")] = "python") -> None:
    """Make a folder with a small plugin to start from.

    For example:

    ```
    plugyard new hello
    plugyard new hello-ts --runtime javascript
    ```
    """
    if runtime not in TEMPLATES:
        raise Failure(f"there is no template for the runtime {runtime!r}; there are: {', '.join(TEMPLATES)}")
    if folder.exists() and any(folder.iterdir()):
        raise Failure(f"{folder} is there already and not empty")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in TEMPLATES[runtime].items():
        (folder / name).write_text(text.replace("NAME", folder.name.lower()))
    print(f"Made {folder} with {', '.join(TEMPLATES[runtime])}.\nNext: plugyard upload {folder} --activate")


def check(
    package: Path,
    /,
    *,
    form: Form = "text",
    as_json: AsJson = False,
    output: Annotated[Path | None, Parameter(help="Write the report to a file.")] = None,
    rule: Rules = None,
    malware_list: Annotated[Path | None, Parameter(help="A list of what is known to be malicious.")] = None,
    sbom: Annotated[Path | None, Parameter(help="Write the bill of materials (CycloneDX) to a file.")] = None,
) -> None:
    """Check a package or a folder as the service would, on this machine.

    The code is not loaded, examples are not run and dependencies are not resolved here; the service does so at upload.
    Rules are set as in plugyard.toml's gate_rules, and --rule goes over them. Ends with status 1 where it is refused.

    For example:

    ```
    plugyard check hello
    plugyard check hello-1.0.0.zip --format sarif --output findings.sarif
    plugyard check hello --rule code.eval=block --sbom bom.json
    ```
    """
    from plugyard.cli.checking import checked, written

    lines = [*configured_rules(), *(rule or [])]
    with tempfile.TemporaryDirectory() as folder, packed_in(package, folder).open("rb") as stream:
        report, name, number = checked(stream, lines, malware_list)
    text = written(report, "json" if as_json else form, str(package))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, "utf-8")
        print(f"wrote {output}")
    if sbom is not None:
        from plugyard.application.sbom import cyclonedx

        sbom.write_bytes(cyclonedx(name, number, report, datetime.now(UTC)))
        print(f"wrote {sbom}: {len(report.components)} libraries", file=sys.stderr)
    if report.refused:
        raise SystemExit(1)


def configured_rules() -> list[str]:
    """What plugyard.toml in this folder sets of the gate's rules."""
    try:
        lines = tomllib.loads(Path(CONFIG_FILE).read_text()).get("gate_rules", [])
    except FileNotFoundError:
        return []
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Failure(f"{CONFIG_FILE} cannot be read: {error}") from error
    return [str(line) for line in lines] if isinstance(lines, list) else [str(lines)]


def pack(folder: Path, /, *, output: Path | None = None) -> None:
    """Pack a folder into a ZIP; the same content always gives the same bytes.

    For example:

    ```
    plugyard pack hello
    plugyard pack hello --output build/hello.zip
    ```
    """
    print(packed(folder, output))


def upload(
    package: Path,
    /,
    *,
    activate: bool = False,
    sign: Annotated[Path | None, Parameter(help="Sign it with this key (PEM), which is registered there.")] = None,
    signature: Annotated[Path | None, Parameter(help="Send this signature, which plugyard sign made.")] = None,
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Upload a package, or a folder that is packed first.

    For example:

    ```
    plugyard upload hello --activate
    plugyard upload hello-1.0.0.zip --url https://plugins.example.com --key plugyard_...
    plugyard upload hello --sign publisher.pem
    ```
    """
    from plugyard.cli.signing import signature_for

    with reach.client() as client, tempfile.TemporaryDirectory() as folder:
        archive = packed_in(package, folder)
        answer = client.upload(archive, activate=activate, **signature_for(archive, sign, signature))
    if as_json:
        print_json(answer)
        return
    plugin = answer["plugin"]
    if answer["version"] == plugin["version"]:
        signed = ", signed" if plugin["signed"] else ""
        print(f"{plugin['name']} {answer['version']} is {plugin['status']}{signed}  (id {plugin['id']})")
    else:
        stands = f"{plugin['version']} is {plugin['status']} as before"
        print(f"{plugin['name']} {answer['version']} is uploaded; {stands}  (id {plugin['id']})")
    if (answer.get("standing") or {}).get("state") == "quarantined":
        found = [one for one in answer["report"]["findings"] if one["consequence"] == "quarantine"]
        print("\n".join(finding_lines(one) for one in found))
    for permission in answer.get("consentNeeded") or []:
        print(f"  waits for an admin's consent to: {permission['service']}  {permission.get('reason', '')}")
    if answer.get("consentNeeded"):
        print(f"Next, as an admin: plugyard install {plugin['name']}")
    elif answer.get("notActivated"):
        print(f"  not active yet: {answer['notActivated']}")
    elif plugin["functions"]:
        print(f"Next: plugyard execute {plugin['name']} {plugin['functions'][0]['name']} --input '{{...}}'")


def execute(
    plugin: str,
    function: str,
    /,
    *,
    input: Annotated[str, Parameter(help="JSON, or @FILE to read it from a file.")] = "null",
    reach: Reach = HERE,
    as_json: AsJson = False,
) -> None:
    """Execute a function of an active plugin, named by its name or id.

    For example:

    ```
    plugyard execute hello greet --input '{"name": "Ada"}'
    plugyard execute invoice-totals total --input @invoice.json --json
    ```
    """
    client = reach.client()
    answer, took = client.execute(client.plugin_named(plugin)["id"], function, _json_value(input))
    if as_json:
        print_json(answer)
    elif answer["status"] == "succeeded":
        print_json(answer["output"])
        usage = answer["usage"]
        print(
            f"{answer['status']} in {took:.1f} ms ({usage['wallMs']:.1f} in the sandbox, {usage['start']} start)",
            file=sys.stderr,
        )
    else:
        error = answer["error"]
        said = [f"{answer['status']}: {error['message']}", *(error.get("stack") or "").splitlines()]
        print("\n".join(map(printable, said)), file=sys.stderr)
    if answer["status"] != "succeeded":
        raise SystemExit(1)


def packed_in(source: Path, folder: str) -> Path:
    """The package at ``source``; a folder is packed into ``folder``, so that nothing is left beside it."""
    return source if source.is_file() else packed(source, Path(folder) / "package.zip")


def packed(source: Path, output: Path | None = None) -> Path:
    """The package at ``source``; a folder is packed beside itself first, as NAME-VERSION.zip."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise Failure(f"there is no file or folder {source}")
    try:
        metadata = json.loads((source / "plugin.json").read_text())["metadata"]
        name = f"{metadata['name']}-{metadata['version']}.zip"
    except FileNotFoundError:
        raise Failure(f"{source} has no plugin.json; plugyard new makes a folder to start from") from None
    except (ValueError, KeyError, TypeError):
        name = f"{source.resolve().name}.zip"
    target = output or source.resolve().parent / Path(name).name
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(_files(source)):
            # A fixed date and mode: the digest names the content, so the same content must give the same bytes.
            info = zipfile.ZipInfo(file.relative_to(source).as_posix(), (1980, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, file.read_bytes())
    return target


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in LEFT_OUT or path.is_symlink() or path.suffix == ".pyc":
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def _json_value(text: str) -> Any:
    try:
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise Failure(f"cannot read the input: {error}") from error
    except ValueError as error:
        raise Failure(f"the input is no JSON: {error}") from error
