"""The clients that people have: tritonclient (sync and asyncio), and the requests of TensorFlow Serving's documentation."""
import asyncio
import base64
import gzip
import http.client
import io
import json
import shutil
import threading
import time
import zlib

import numpy
import tritonclient.http
import tritonclient.http.aio
from PIL import Image

import espy
import pictures


def pixels(png=None):
    """Returns the seven as the network sees it: white on black, as it is drawn."""
    return numpy.asarray(Image.open(io.BytesIO(png or pictures.seven()))).reshape(1, 784)


def tensor(array, datatype, binary=True):
    wanted = tritonclient.http.InferInput("input", list(array.shape), datatype)
    wanted.set_data_from_numpy(array, binary_data=binary)
    return wanted


class Case(espy.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.serve()
        self.address = f"127.0.0.1:{self.server.port}"

    def records(self):
        return self.server.history()


class TritonTest(Case):
    def setUp(self):
        super().setUp()
        self.server.wait_until_ready()
        self.client = tritonclient.http.InferenceServerClient(self.address)
        self.addCleanup(self.client.close)

    def test_asks_for_health_metadata_and_statistics(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("digits"))
        self.assertTrue(self.client.is_model_ready("digits", "1"))
        self.assertFalse(self.client.is_model_ready("digits", "2"))
        self.assertEqual(self.client.get_server_metadata()["name"], "espy")
        metadata = self.client.get_model_metadata("garments")
        self.assertEqual(metadata["inputs"], [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 28, 28]}])
        self.assertIn({"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}, metadata["outputs"])
        index = self.client.get_model_repository_index()
        self.assertEqual(index[0], {"name": "digits", "version": "1", "state": "READY", "reason": ""})
        self.client.infer("digits", [tensor(pixels(), "UINT8")])
        statistics = self.client.get_inference_statistics("digits")["model_stats"][0]
        self.assertEqual(statistics["inference_count"], 1)
        self.assertEqual(statistics["inference_stats"]["success"]["count"], 1)
        self.assertGreater(statistics["inference_stats"]["success"]["ns"], 0)

    def test_infers_with_every_kind_of_tensor(self):
        png = pictures.seven()
        inputs = {
            "UINT8": pixels(), "FP32": (pixels() / 255).astype(numpy.float32).reshape(1, 1, 28, 28),
            "BYTES": numpy.array([png], object)}
        for datatype, array in inputs.items():
            for binary in (True, False):
                if datatype == "BYTES" and not binary:
                    array = numpy.array([base64.b64encode(png)], object)
                for compression in (None, "gzip", "deflate"):
                    with self.subTest(datatype=datatype, binary=binary, compression=compression):
                        outputs = [tritonclient.http.InferRequestedOutput(name, binary_data=binary)
                                   for name in ("label", "probabilities", "class", "verdict")]
                        result = self.client.infer(
                            "digits", [tensor(array, datatype, binary)], outputs=outputs,
                            request_compression_algorithm=compression, response_compression_algorithm=compression)
                        self.assertEqual(result.as_numpy("label").tolist(), [7])
                        self.assertEqual(result.as_numpy("probabilities").shape, (1, 10))
                        self.assertEqual(result.as_numpy("probabilities").dtype, numpy.float32)
                        self.assertEqual(result.as_numpy("probabilities")[0].argmax(), 7)
                        word = result.as_numpy("class")[0]
                        self.assertEqual(word.decode() if isinstance(word, bytes) else word, "7")
        self.assertEqual(len(self.records()), 18)

    def test_a_large_answer_comes_compressed(self):
        batch = numpy.repeat(pixels(), 100, 0)
        plain = self.client.infer("digits", [tensor(batch, "UINT8")])
        for algorithm in ("gzip", "deflate"):
            result = self.client.infer("digits", [tensor(batch, "UINT8")], response_compression_algorithm=algorithm)
            numpy.testing.assert_array_equal(result.as_numpy("probabilities"), plain.as_numpy("probabilities"))
            connection = self.server.connect()
            body = json.dumps({"inputs": [{"name": "input", "datatype": "UINT8", "shape": [100, 784],
                                           "data": batch.tolist()}]})
            connection.request("POST", "/v2/models/digits/infer", body, {"Accept-Encoding": algorithm})
            answer = connection.getresponse()
            self.assertEqual(answer.getheader("content-encoding"), algorithm)
            content = answer.read()
            text = gzip.decompress(content) if algorithm == "gzip" else zlib.decompress(content)
            self.assertEqual(len(json.loads(text)["outputs"][0]["data"]), 1000)
            connection.close()

    def test_a_batch_is_as_many_records_of_one_commit(self):
        before = self.commits()
        batch = numpy.concatenate([pixels(), 0 * pixels(), pixels()])
        result = self.client.infer("digits", [tensor(batch.reshape(3, 28, 28, 1), "UINT8")])
        self.assertEqual(result.as_numpy("label").tolist()[::2], [7, 7])
        self.assertEqual(result.as_numpy("reason").tolist(), [b"", b"blank", b""])
        records = self.records()
        self.assertEqual([record["id"] for record in reversed(records)],
                         [word.decode() for word in result.as_numpy("record")])
        self.assertEqual(self.commits(), before + 1)

    def commits(self):
        lines = self.server.get("/metrics").text.splitlines()
        return int(float(next(line for line in lines if line.startswith("espy_commit_seconds_count")).split()[1]))

    def test_an_id_makes_a_retry_the_same_record(self):
        def infer(array, name="digits"):
            return self.client.infer(name, [tensor(array, "UINT8")], request_id="1")
        first = infer(pixels())
        self.assertEqual(first.get_response()["id"], "1")
        self.assertEqual(infer(pixels()).as_numpy("record"), first.as_numpy("record"))
        self.assertEqual(len(self.records()), 1)
        # The same id with something else is something else.
        blank = infer(0 * pixels())
        self.assertEqual(blank.as_numpy("reason").tolist(), [b"blank"])
        infer(pixels(), "garments")
        self.assertEqual(len(self.records()), 3)
        twice = infer(numpy.repeat(pixels(), 2, 0))
        self.assertEqual(len(set(twice.as_numpy("record").tolist())), 2)
        again = infer(numpy.repeat(pixels(), 2, 0))
        self.assertEqual(again.as_numpy("record").tolist(), twice.as_numpy("record").tolist())
        self.assertEqual(len(self.records()), 4)

    def test_classifies(self):
        outputs = [tritonclient.http.InferRequestedOutput("probabilities", class_count=3)]
        result = self.client.infer("digits", [tensor(numpy.array([pictures.seven()], object), "BYTES")],
                                   outputs=outputs, parameters={"file_name": "folder/seven.png"})
        value, label, name = result.as_numpy("probabilities")[0][0].decode().split(":")
        self.assertEqual((label, name), ("7", "7"))
        record = self.records()[0]
        self.assertAlmostEqual(float(value), record["confidence"], places=5)
        self.assertEqual(record["file_name"], "seven.png")
        self.assertEqual(self.server.get(record["upload"]["url"]).body, pictures.seven())

    def test_says_what_is_wrong(self):
        def refusal(call):
            with self.assertRaises(tritonclient.http.InferenceServerException) as caught:
                call()
            return caught.exception.message()
        self.assertIn("there is no model letters; there are digits, garments",
                      refusal(lambda: self.client.infer("letters", [tensor(pixels(), "UINT8")])))
        self.assertIn("must be from 0 to 1",
                      refusal(lambda: self.client.infer("digits", [tensor(pixels().astype(numpy.float32), "FP32")])))
        self.assertIn("picture 1: ", refusal(lambda: self.client.infer(
            "digits", [tensor(numpy.array([pictures.seven(), b"no picture"], object), "BYTES")])))
        self.assertIn("there is no model letters", refusal(lambda: self.client.load_model("letters")))
        self.assertIn("the server's own files",
                      refusal(lambda: self.client.load_model("digits", config="{}")))
        self.assertEqual(self.records(), [])
        for path, status in (("/v2/nothing", 404), ("/v2/models/digits/infer", 405), ("/v1/models/x:predict", 405)):
            answer = self.server.get(path)
            self.assertEqual(answer.status, status)
            self.assertIsInstance(answer.json["error"], str)

    def test_unloads_and_loads(self):
        self.client.unload_model("digits")
        self.assertFalse(self.client.is_model_ready("digits"))
        self.assertTrue(self.client.is_server_ready())
        index = {model["name"]: model for model in self.client.get_model_repository_index()}
        self.assertEqual((index["digits"]["state"], index["digits"]["reason"]), ("UNAVAILABLE", "it was unloaded"))
        self.client.load_model("digits")
        self.assertTrue(self.client.is_model_ready("digits"))

    def test_asyncio(self):
        async def run():
            async with tritonclient.http.aio.InferenceServerClient(self.address) as client:
                self.assertTrue(await client.is_server_live())
                for binary in (True, False):
                    results = await asyncio.gather(*(
                        client.infer("digits", [tritonclient_aio_tensor(binary)], request_compression_algorithm=algorithm,
                                     response_compression_algorithm=algorithm)
                        for algorithm in (None, "gzip", "deflate") for _ in range(5)))
                    for result in results:
                        self.assertEqual(result.as_numpy("label").tolist(), [7])

        def tritonclient_aio_tensor(binary):
            return tensor(pixels(), "UINT8", binary)
        asyncio.run(run())
        self.assertEqual(len(self.records()), 30)


class TensorFlowServingTest(Case):
    """The requests as tensorflow.org/tfx/serving/api_rest writes them, with our model's name and input."""

    def ask(self, method, path, body=None):
        """Sends exactly these bytes, as curl -d does."""
        answer = self.server.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        return answer.status, answer.json

    def test_status_and_metadata(self):
        status, answer = self.ask("GET", "/v1/models/digits")
        self.assertEqual(status, 200)
        self.assertEqual(answer["model_version_status"],
                         [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}])
        self.assertEqual((answer["name"], answer["ready"]), ("digits", True))  # KServe's
        self.assertEqual(self.ask("GET", "/v1/models/digits/versions/1")[1]["model_version_status"][0]["version"], "1")
        self.assertEqual(self.ask("GET", "/v1/models"), (200, {"models": ["digits", "garments"]}))
        status, metadata = self.ask("GET", "/v1/models/digits/metadata")
        self.assertEqual(metadata["model_spec"], {"name": "digits", "signature_name": "", "version": "1"})
        signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
        self.assertEqual(signature["outputs"]["probabilities"]["dtype"], "DT_FLOAT")

    def test_predicts_rows_and_columns(self):
        image = (pixels().reshape(28, 28) / 255).tolist()
        b64 = {"b64": base64.b64encode(pictures.seven()).decode()}
        for body in ({"signature_name": "serving_default", "instances": [image, image]},
                     {"instances": [b64, {"input": image}]}, {"instances": [{"image": b64}, {"b64": b64["b64"]}]}):
            status, answer = self.ask("POST", "/v1/models/digits:predict", json.dumps(body))
            self.assertEqual(status, 200, answer)
            self.assertEqual([numpy.argmax(row) for row in answer["predictions"]], [7, 7])
        for body in ({"inputs": [image]}, {"inputs": {"input": [image]}}, {"inputs": b64}):
            status, answer = self.ask("POST", "/v1/models/digits/versions/1:predict", json.dumps(body))
            self.assertEqual(status, 200, answer)
            self.assertEqual(numpy.argmax(answer["outputs"][0]), 7)
        status, answer = self.ask("POST", "/v1/models/digits:predict",
                                  json.dumps({"signature_name": "details", "instances": [b64]}))
        self.assertEqual(answer["predictions"][0]["class"], "7")
        self.assertEqual(answer["predictions"][0]["record"], self.records()[0]["id"])
        self.assertEqual(len(self.records()), 10)

    def test_classifies(self):
        b64 = {"b64": base64.b64encode(pictures.seven()).decode()}
        status, answer = self.ask("POST", "/v1/models/digits:classify",
                                  json.dumps({"context": {"locale": "de"}, "examples": [{"image": b64}]}))
        self.assertEqual(status, 200, answer)
        self.assertEqual(max(answer["results"][0], key=lambda pair: pair[1])[0], "7")

    def test_errors_are_in_its_words(self):
        self.assertEqual(self.ask("POST", "/v1/models/half:predict", '{"instances": [1.0]}'),
                         (404, {"error": "Servable not found for request: Latest(half)"}))
        self.assertEqual(self.ask("POST", "/v1/models/digits/versions/9:predict", '{"instances": [1.0]}'),
                         (404, {"error": "Servable not found for request: Specific(digits, 9)"}))
        # The documentation's own examples are of other models.
        for body in ('{"instances": [1.0, 2.0, 5.0]}',
                     '{"instances": [{"tag": "foo","signal": [1, 2, 3, 4, 5],"sensor": [[1, 2], [3, 4]]}]}',
                     '{"instances": [1.0], "inputs": [1.0]}'):
            status, answer = self.ask("POST", "/v1/models/digits:predict", body)
            self.assertEqual(status, 400)
            self.assertIsInstance(answer["error"], str)
        self.assertEqual(self.ask("POST", "/v1/models/digits:regress", '{"examples": [{}]}')[0], 400)


class UploadTest(Case):
    def test_data_urls_batches_and_ids(self):
        url = "data:image/png;base64," + base64.b64encode(pictures.seven()).decode()
        first = self.server.request("POST", "/api/predict", url, {"Content-Type": "text/plain"})
        self.assertEqual(first.json["class"], "7", first)
        parts = b"".join(
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="%d.png"\r\n\r\n' % i + pictures.seven() + b"\r\n"
            for i in range(20)) + b"--b--\r\n"
        batch = self.server.request("POST", "/api/predict", parts, {"Content-Type": "multipart/form-data; boundary=b"})
        self.assertEqual([record["file_name"] for record in batch.json["records"]], [f"{i}.png" for i in range(20)])
        self.assertTrue(all(record["durable"] for record in batch.json["records"]))
        self.assertEqual(len(self.records()), 21)
        for headers, query in (({"Idempotency-Key": "order 7"}, ""), ({}, "?id=order+7")):
            answers = [self.server.request("POST", "/api/predict" + query, pictures.seven(), headers) for _ in range(2)]
            self.assertEqual(answers[0].json["id"], answers[1].json["id"])
        form = {"Idempotency-Key": "order 8", "Content-Type": "multipart/form-data; boundary=b"}
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="7.png"\r\n\r\n' + pictures.seven() + b"\r\n--b--\r\n"
        for _ in range(2):
            self.assertEqual(self.server.request("POST", "/", part, form).text, "The result is: 7\n")
        self.assertEqual(len(self.records()), 23)
        self.assert_error(self.server.request("POST", "/api/predict", pictures.seven(), {"Espy-Subject": "x" * 256}), 400,
                          "invalid_input", "subject has 256 bytes")
        self.assert_error(self.server.request("POST", "/api/predict?id=" + "x" * 256, pictures.seven()), 400,
                          "invalid_input", "id has 256 bytes")

    def test_compressed_uploads_and_bombs(self):
        answer = self.server.request("POST", "/api/predict", gzip.compress(pictures.seven()), {"Content-Encoding": "gzip"})
        self.assertEqual(answer.json["class"], "7")
        bomb = gzip.compress(bytes(200 << 20), 9)
        began = time.monotonic()
        self.assert_error(self.server.request("POST", "/api/predict", bomb, {"Content-Encoding": "gzip"}), 413,
                          "too_large", "bytes when it is inflated")
        self.assertLess(time.monotonic() - began, 20)
        self.assert_error(self.server.request("POST", "/api/predict", b"x", {"Content-Encoding": "br"}), 400,
                          "invalid_input", "must be gzip or deflate")


class SwitchTest(espy.TestCase):
    """A model folder that changes while it is served."""

    def setUp(self):
        super().setUp()
        self.models = self.folder / "models"
        self.files = [espy_model(self, "digits"), espy_model(self, "garments")]
        (self.models / "m").mkdir(parents=True)
        shutil.copy(self.files[0], self.models / "m/1.onnx")
        self.server = self.serve("--model-folder", self.models)

    def answering(self):
        models = self.server.get("/api/models").json["models"]
        return next((model.get("number") for model in models if model["name"] == "m"), None)

    def wait_for(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.server.log)
            time.sleep(0.05)

    def resident_bytes(self):
        with open(f"/proc/{self.server.process.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    def test_switches_under_load_without_a_failure_and_frees_the_old(self):
        shutil.copy(self.files[1], self.models / "m/2.onnx")
        self.wait_for(lambda: self.answering() == 2)
        self.choose(1)
        ended = threading.Event()
        answers = []

        def ask():
            connection = self.server.connect()
            while not ended.is_set():
                began = time.monotonic()
                connection.request("POST", "/api/predict", pictures.seven())
                answer = connection.getresponse()
                body = answer.read()
                answers.append((answer.status, json.loads(body).get("class"), time.monotonic() - began))
            connection.close()
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        memory = []
        for turn in range(30):
            self.choose(2 if turn % 2 == 0 else 1)
            # A version comes and goes with it, so that something is loaded and let go of.
            other = self.models / f"m/{3 + turn}.onnx"
            if turn % 3 == 0:
                shutil.copy(self.files[turn % 2], other)
            self.server.request("POST", "/v2/repository/models/m/load", "{}")
            if turn % 3 == 0:
                other.unlink()
                self.server.request("POST", "/v2/repository/models/m/load", "{}")
            memory.append(self.resident_bytes())
        # The allocator gives back what is free a second later, while requests come (ADR 26).
        bound = max(memory[:10]) + (8 << 20)
        deadline = time.monotonic() + 10
        while memory[-1] >= bound and time.monotonic() < deadline:
            time.sleep(0.1)
            memory.append(self.resident_bytes())
        ended.set()
        for thread in threads:
            thread.join()
        self.assertEqual({status for status, _, _ in answers}, {200})
        self.assertGreater(len({name for _, name, _ in answers}), 1)  # both have answered
        self.assertLess(memory[-1], bound, memory)

    def choose(self, version):
        answer = self.server.request("POST", "/api/models/m/default", json.dumps({"version": version}),
                                     {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(self.answering(), version)

    def test_a_broken_file_leaves_the_old_one_serving_and_says_why(self):
        (self.models / "m/1.onnx").write_bytes(b"no model")
        self.wait_for(lambda: self.index()["1"]["reason"])
        self.assertEqual(self.index()["1"]["state"], "READY")
        self.assertIn("1.onnx", self.index()["1"]["reason"])
        self.assertIn("stays as it was", self.server.log)
        self.assertEqual(self.server.upload(pictures.seven()).text, "The result is: 7\n")
        (self.models / "m/2").mkdir()
        (self.models / "m/2/part.onnx").write_bytes(b"no model")
        self.wait_for(lambda: "2" in self.index())
        self.assertEqual(self.index()["2"]["state"], "UNAVAILABLE")
        self.assertEqual(self.answering(), 1)

    def index(self):
        index = self.server.request("POST", "/v2/repository/index").json
        return {model["version"]: model for model in index}

    def test_labels_name_versions(self):
        shutil.copy(self.files[1], self.models / "m/2.onnx")
        self.wait_for(lambda: self.answering() == 2)
        answer = self.server.request("POST", "/api/models/m/default", '{"label": "stable", "version": 1}',
                                     {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 200, answer)
        b64 = base64.b64encode(pictures.seven()).decode()
        body = json.dumps({"signature_name": "details", "instances": [{"b64": b64}]})
        stable = self.server.request("POST", "/v1/models/m/labels/stable:predict", body)
        self.assertEqual(stable.json["predictions"][0]["class"], "7")
        self.assertEqual(self.server.request("POST", "/v1/models/m/labels/canary:predict", body).status, 400)


def espy_model(case, name):
    """Returns a file with the model that is inside the program under this name."""
    path = espy.pathlib.Path(__file__).parents[2] / f"models/{name}.onnx"
    case.assertTrue(path.is_file(), path)
    return path


if __name__ == "__main__":
    espy.main()
