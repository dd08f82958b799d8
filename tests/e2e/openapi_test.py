"""The API's own description: that it is OpenAPI, that no route is missing, and that what is answered is what it says.

The last test sends what schemathesis makes of the description; script/test --all runs it.
"""
import html.parser
import pathlib
import re
import subprocess
import sys
import unittest

import jsonschema
import openapi_spec_validator

import espy
import pictures

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Links(html.parser.HTMLParser):
    """What a page points to, what it can be pointed at, and what it would run."""

    def __init__(self, page):
        super().__init__()
        self.targets, self.ids, self.tags = [], set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            if name in ("href", "src", "action"):
                self.targets.append(value)
            if name == "id":
                self.ids.add(value)


class OpenApi(espy.TestCase):

    def setUp(self):
        super().setUp()
        self.server = self.serve()
        self.document = self.server.get("/openapi.json").json

    def schema_of(self, path, method, status, media):
        """Returns the schema of an answer; None where it has no further structure."""
        response = self.document["paths"][path][method]["responses"][str(status)]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
        self.assertIn(media, response["content"], (path, method, status))
        return response["content"][media].get("schema")

    def assert_described(self, answer, path, method="get"):
        """Checks an answer against what the description says of its route, status and type."""
        schema = self.schema_of(path, method, answer.status, answer.headers["content-type"])
        if schema:
            jsonschema.Draft202012Validator({**schema, "components": self.document["components"]},
                                            format_checker=jsonschema.FormatChecker()).validate(answer.json)

    def test_it_is_valid_openapi(self):
        openapi_spec_validator.validate(self.document)
        self.assertEqual(self.document["openapi"], "3.1.0")

    def test_every_route_is_described_and_called_by_one_name(self):
        table = (ROOT / "src/http/route_table.cc").read_text()
        table = table[table.index("kRoutes[] = {"):]
        table = table[:table.index("return kRoutes")]
        routes = re.findall(r'Method::(get|post),\s*"([^"]+)"', table)
        described = [(method, path) for path, methods in self.document["paths"].items() for method in methods]
        self.assertEqual(sorted(routes), sorted(described))
        names = [self.document["paths"][path][method]["operationId"] for method, path in described]
        self.assertEqual(len(names), len(set(names)))

    def test_the_documents_name_every_route(self):
        document = (ROOT / "docs/api.md").read_text()
        for path in self.document["paths"]:
            if path.startswith(("/v1/", "/v2/")):  # they are documented by those whose dialects they are
                continue
            self.assertIn(path.replace("/uploads/{name}", "/uploads/{id}.{format}"), document)

    def test_answers_are_as_described(self):
        server, seven = self.server, pictures.seven()
        post = lambda path, body, media, **more: server.request("POST", path, body, {"Content-Type": media, **more})
        answer = post("/api/predict?coverage=0.99&file_name=seven.png", seven, "image/png", **{"Espy-Subject": "ann"})
        self.assertEqual(answer.status, 200)
        self.assert_described(answer, "/api/predict", "post")
        record = answer.json
        self.assert_described(server.upload(seven, "/api/predict"), "/api/predict", "post")
        self.assert_described(server.upload(b"no picture", "/api/predict"), "/api/predict", "post")
        self.assert_described(post("/api/predict?model=no", seven, "image/png"), "/api/predict", "post")
        self.assert_described(post("/api/predict?nonsense=1", seven, "image/png"), "/api/predict", "post")
        correct = "/api/history/{id}/correction"
        for body, status in ((b'{"label": 1, "author": "ann"}', 200), (b'{"label": 99}', 400), (b"[", 400)):
            answer = post(correct.replace("{id}", record["id"]), body, "application/json")
            self.assertEqual(answer.status, status)
            self.assert_described(answer, correct, "post")
        for path, described in (("/api/history", None), ("/api/history?limit=0", "/api/history"),
                                ("/api/history?limit=1", "/api/history"), ("/api/models", None),
                                (f"/api/history/{record['id']}", "/api/history/{id}"),
                                ("/api/history/none", "/api/history/{id}"), ("/livez", None), ("/readyz", None),
                                ("/openapi.json", None), ("/metrics", None), ("/", None), ("/history", None),
                                ("/docs", None), ("/style.css", None), ("/uploads/none", "/uploads/{name}"),
                                (record["upload"]["url"], "/uploads/{name}"), ("/?model=no", "/"),
                                ("/history?limit=0", "/history"), ("/v2", None), ("/v2/health/live", None),
                                ("/v2/health/ready", None), ("/v2/models/digits", "/v2/models/{name}"),
                                ("/v2/models/none", "/v2/models/{name}"), ("/v2/models/stats", None),
                                ("/v2/models/digits/ready", "/v2/models/{name}/ready"), ("/v1/models", None),
                                ("/v1/models/digits", "/v1/models/{name}"),
                                ("/v1/models/digits/metadata", "/v1/models/{name}/metadata")):
            with self.subTest(path):
                for accept in ("*/*", "text/html"):
                    self.assert_described(server.get(path, Accept=accept), described or path)
        for accept in ("*/*", "text/html"):
            self.assert_described(server.upload(seven, accept=accept), "/", "post")
            self.assert_described(server.upload(b"no picture", accept=accept), "/", "post")
            self.assert_described(server.upload(b"", accept=accept, file_name=""), "/", "post")

    def test_the_page_shows_everything_and_fetches_nothing_from_elsewhere(self):
        answer = self.server.get("/docs")
        self.assertEqual(answer.status, 200)
        self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
        page = Links(answer.text)
        self.assertNotIn("script", page.tags)
        for target in page.targets:
            self.assertRegex(target, r"^(/|#|data:,$)")
            if target.startswith("#"):
                self.assertIn(target[1:], page.ids)
        shown = set(self.document["components"]["schemas"])
        shown |= {operation["operationId"] for methods in self.document["paths"].values() for operation in methods.values()}
        self.assertLessEqual(shown, page.ids)

    def test_schemathesis_finds_nothing(self):
        # That whatever fits the schemas is accepted cannot be asked: no schema tells what bytes are a picture.
        run = subprocess.run(
            [pathlib.Path(sys.executable).with_name("schemathesis"), "run", f"http://127.0.0.1:{self.server.port}/openapi.json",
             "--max-examples", "30" if espy.SLOW else "2", "--seed", "1", "--phases", "examples,coverage,fuzzing",
             "--exclude-checks", "positive_data_acceptance", "--no-color"],
            cwd=self.folder, capture_output=True, text=True, timeout=1500)
        self.assertEqual(run.returncode, 0, run.stdout[-20000:] + run.stderr[-2000:])


if __name__ == "__main__":
    espy.main()
