"""Fails when an #include under src/ breaks the architecture.

Usage: check_layering.py SOURCE_DIR LAYERING_JSON

Three rules, whose facts come from the espy_module() calls (cmake/espy_module.cmake):
  1. a module includes only itself and the modules that its DEPS name;
  2. a foreign library is included by its one owner only;
  3. a public header shows no foreign library.
"""

import json
import pathlib
import re
import sys

# One foreign library, one owner: what the path of an #include <...> begins with, and who may say it.
OWNERS = {
    "spdlog/": "base",
    "fmt/": "base",
    "openssl/evp.h": "base",  # libcrypto
    "openssl/ssl.h": "http",  # libssl
    "libdeflate.h": "base",
    "jpeglib.h": "image",
    "jerror.h": "image",
    "gif_lib.h": "image",
    "webp/": "image",
    "libexif/": "image",
    "dnnl": "nn",
    "oneapi/": "nn",
    "omp.h": "nn",
    "google/protobuf/": "model",
    "zlib.h": "model",
    "sqlite3.h": "store",
    "boost/": "http",
    "grpc/": "grpc",
    "grpcpp/": "grpc",
    "CLI/": "cli",
    "jemalloc/": "cli",
}

# fmt stands in for std::format, which GCC 12 lacks; base/format.h is the only header that shows it.
SHOWN = {("base/format.h", "fmt/")}


def breaches(source, rules):
    for path in sorted((source / "src").rglob("*.[hc]*")):
        module = path.relative_to(source / "src").parts[0]
        if module not in rules:
            continue
        name = path.relative_to(source / "src").as_posix()
        allowed = {module, *rules[module]["may_include"]}
        public = path.name in rules[module]["public_headers"]
        for line, text in enumerate(path.read_text().splitlines(), 1):
            include = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', text)
            if not include:
                continue
            quoted, target = include.group(1) == '"', include.group(2)
            used = target.split("/")[0]
            if quoted and used in rules and used not in allowed:
                yield f"src/{name}:{line}: {module} may not include {target}; its DEPS are {sorted(allowed)}"
            for prefix, owner in OWNERS.items():
                if quoted or not target.startswith(prefix):
                    continue
                if owner != module:
                    yield f"src/{name}:{line}: only {owner} may include <{target}>"
                elif public and (name, prefix) not in SHOWN:
                    yield f"src/{name}:{line}: a public header may not show <{target}>"


def main():
    source, rules = pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text())
    found = list(breaches(source, rules))
    for breach in found:
        print(breach)
    print(f"layering: {len(rules)} modules, {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
