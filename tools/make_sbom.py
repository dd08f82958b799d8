"""Writes the software bill of materials of a release, as SPDX 2.3 in JSON.

Usage: make_sbom.py BINARY VERSION SECONDS_SINCE_1970 FILE...

BINARY is the program as it was built; the document describes it and the FILEs that hold it. It names the libraries that
the program loads, those of which only headers or definitions went into it, with the Debian packages that they come from,
the Rust crates that are linked into it, in the versions of src/cassandra/driver/Cargo.lock, and the compilers.
"""

import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Debian packages of which headers, or definitions that code was generated from, went into the program.
HEADERS = ["libboost1.81-dev", "libcli11-dev", "libonnx-dev"]

RUST_PATH = f"{os.environ['PATH']}:{pathlib.Path.home() / '.cargo/bin'}"
CARGO, RUSTC = (shutil.which(name, path=RUST_PATH) for name in ("cargo", "rustc"))


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def debian_package(name):
    version = output_of("dpkg-query", "--show", "--showformat", "${Version}\n", name).split()[0]
    return name, version, f"pkg:deb/debian/{name}@{version}"


def loaded_packages(binary):
    """Returns the packages of the libraries that the loader finds, as (name, version, package URL)."""
    found = set()
    for path in re.findall(r"(/\S+)", output_of("ldd", binary)):
        real = str(pathlib.Path(path).resolve())
        # Packages from before /lib became a link still name their files so.
        for name in (real, real.removeprefix("/usr")):
            searched = subprocess.run(["dpkg-query", "--search", name], capture_output=True, text=True)
            if searched.returncode == 0:
                found.add(debian_package(searched.stdout.split(":")[0]))
                break
        else:
            sys.exit(f"make_sbom: {real} is of no Debian package")
    return found


def crates():
    """Yields (name, version, package URL) of what is linked in: neither what only builds use, nor other systems' crates."""
    host = re.search(r"^host: (.*)$", output_of(RUSTC, "--version", "--verbose"), re.MULTILINE)[1]
    listed = output_of(CARGO, "tree", "--locked", "--offline", "--edges", "normal", "--target", host, "--prefix", "none",
                       "--format", "{p}", "--manifest-path", str(ROOT / "src/cassandra/driver/Cargo.toml"))
    for name, version in sorted(set(re.findall(r"^(\S+) v(\S+)(?: \(proc-macro\))?(?: \(\*\))?$", listed, re.MULTILINE))):
        yield name, version, f"pkg:cargo/{name}@{version}"


def compilers():
    """Yields (name, version) of what another build needs to give the same bytes."""
    yield "g++", output_of("c++", "-dumpfullversion").strip()
    yield "rustc", output_of(RUSTC, "--version").split()[1]


def package(identifier, name, version, **more):
    return {"SPDXID": f"SPDXRef-{identifier}", "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION"} | more


def relation(of, kind, to):
    return {"spdxElementId": f"SPDXRef-{of}", "relationshipType": kind, "relatedSpdxElement": f"SPDXRef-{to}"}


def main():
    binary, version, seconds, files = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    ours = {"licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0"}
    packages = [package("espy", "espy", version, primaryPackagePurpose="APPLICATION", **ours)]
    relations = []
    every_digest = hashlib.sha256()
    for number, path in enumerate(map(pathlib.Path, sorted(files))):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        every_digest.update(digest.encode())
        packages.append(package(f"file-{number}", path.name, version, primaryPackagePurpose="ARCHIVE",
                                packageFileName=path.name,
                                checksums=[{"algorithm": "SHA256", "checksumValue": digest}], **ours))
        relations += [relation("DOCUMENT", "DESCRIBES", f"file-{number}"), relation(f"file-{number}", "CONTAINS", "espy")]
    parts = [(*part, "DYNAMIC_LINK") for part in sorted(loaded_packages(binary))]
    parts += [(*debian_package(name), "STATIC_LINK") for name in HEADERS]
    parts += [(*part, "STATIC_LINK") for part in sorted(crates())]
    for number, (name, part_version, url, kind) in enumerate(parts):
        packages.append(package(f"part-{number}", name, part_version, externalRefs=[
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}]))
        relations.append(relation("espy", kind, f"part-{number}"))
    for name, tool_version in compilers():
        packages.append(package(f"compiler-{name.replace('+', 'p')}", name, tool_version))
        relations.append(relation(f"compiler-{name.replace('+', 'p')}", "BUILD_TOOL_OF", "espy"))
    created = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    json.dump({"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"espy-{version}",
               "documentNamespace": f"https://espy.invalid/spdx/espy-{version}-{every_digest.hexdigest()}",
               "creationInfo": {"created": created, "creators": ["Tool: espy-make_sbom"]},
               "packages": packages, "relationships": relations}, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
