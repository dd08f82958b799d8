"""The Open Inference Protocol over gRPC as its clients speak it: tritonclient (sync, asyncio, streaming), and gRPC's own health."""
import asyncio
import contextlib
import io
import queue
import re
import subprocess
import threading
import time

import grpc
import numpy
import tritonclient.grpc
import tritonclient.grpc.aio
from PIL import Image
from tritonclient.grpc import service_pb2

import espy
import pictures
from tls_test import make_certificate

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
Code = grpc.StatusCode


def pixels():
    """Returns the seven as the network sees it: white on black, as it is drawn."""
    return numpy.asarray(Image.open(io.BytesIO(pictures.seven()))).reshape(1, 784)


def tensor(array, datatype):
    wanted = tritonclient.grpc.InferInput("input", list(array.shape), datatype)
    wanted.set_data_from_numpy(array)
    return wanted


def seven():
    return tensor(pixels(), "UINT8")


class Case(espy.TestCase):
    def start(self, *arguments):
        self.server = self.serve("--grpc-port", "0", *arguments)
        self.address = re.search(r"grpcs?://([^\s\"]*)", self.server.log)[1]
        return self.server

    def client(self, **options):
        client = tritonclient.grpc.InferenceServerClient(self.address, **options)
        self.addCleanup(client.close)
        return client

    def channel(self):
        channel = grpc.insecure_channel(self.address)
        self.addCleanup(channel.close)
        return channel

    @contextlib.contextmanager
    def refused(self, code, piece):
        with self.assertRaises(tritonclient.grpc.InferenceServerException) as caught:
            yield
        self.assertEqual(caught.exception.status(), f"StatusCode.{code.name}", caught.exception)
        self.assertIn(piece, caught.exception.message())


def peak_memory(server):
    """Returns the most bytes that the server has had in memory."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def health(channel, service="", timeout=60):
    """Asks as any client does that was made from the protocol's file; the messages are that small."""
    check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda name: b"\x0a" + bytes([len(name)]) + name.encode(),
                                lambda answer: answer[1])
    return check(service, timeout=timeout)


class TritonTest(Case):
    def setUp(self):
        super().setUp()
        self.start()
        self.server.wait_until_ready()
        self.triton = self.client()

    def test_asks_for_health_metadata_and_statistics(self):
        self.assertTrue(self.triton.is_server_live())
        self.assertTrue(self.triton.is_server_ready())
        self.assertTrue(self.triton.is_model_ready("digits"))
        self.assertTrue(self.triton.is_model_ready("digits", "1"))
        self.assertFalse(self.triton.is_model_ready("digits", "2"))
        self.assertFalse(self.triton.is_model_ready("letters"))
        server = self.triton.get_server_metadata()
        self.assertEqual((server.name, list(server.extensions)),
                         ("espy", ["classification", "model_repository", "statistics"]))
        metadata = self.triton.get_model_metadata("garments", as_json=True)
        self.assertEqual(metadata["inputs"], [{"name": "input", "datatype": "FP32", "shape": ["-1", "1", "28", "28"]}])
        self.assertIn({"name": "probabilities", "datatype": "FP32", "shape": ["-1", "10"]}, metadata["outputs"])
        self.assertEqual((metadata["platform"], metadata["versions"]), ("onnx_onnxv1", ["1"]))
        self.triton.infer("digits", [seven()])
        self.triton.infer("digits", [tensor(numpy.repeat(pixels(), 2, 0), "UINT8")])
        statistics = self.triton.get_inference_statistics("digits").model_stats[0]
        self.assertEqual((statistics.name, statistics.version, statistics.inference_count), ("digits", "1", 3))
        self.assertEqual(statistics.inference_stats.success.count, 2)
        with self.refused(Code.INVALID_ARGUMENT, "not a png"):
            self.triton.infer("digits", [tensor(numpy.array([b"no picture"], object), "BYTES")])
        statistics = self.triton.get_inference_statistics("digits").model_stats[0]
        self.assertEqual((statistics.inference_count, statistics.inference_stats.fail.count), (3, 1))
        self.assertGreater(statistics.inference_stats.success.ns, 0)
        self.assertEqual(len(self.triton.get_inference_statistics().model_stats), 2)

    def test_infers_with_every_kind_of_tensor(self):
        inputs = {"UINT8": pixels(), "FP32": (pixels() / 255).astype(numpy.float32).reshape(1, 1, 28, 28),
                  "BYTES": numpy.array([pictures.seven()], object)}
        for datatype, array in inputs.items():
            for compression in (None, "gzip", "deflate"):
                with self.subTest(datatype=datatype, compression=compression):
                    outputs = [tritonclient.grpc.InferRequestedOutput(name)
                               for name in ("label", "probabilities", "class", "verdict")]
                    result = self.triton.infer("digits", [tensor(array, datatype)], outputs=outputs,
                                               compression_algorithm=compression)
                    self.assertEqual([output.name for output in result.get_response().outputs],
                                     ["label", "probabilities", "class", "verdict"])
                    self.assertEqual(result.as_numpy("label").tolist(), [7])
                    self.assertEqual(result.as_numpy("probabilities").shape, (1, 10))
                    self.assertEqual(result.as_numpy("probabilities")[0].argmax(), 7)
                    self.assertEqual(result.as_numpy("class").tolist(), [b"7"])
        self.assertEqual(len(self.server.history()), 9)

    def test_takes_typed_contents_and_answers_what_http_answers(self):
        infer = self.channel().unary_unary("/inference.GRPCInferenceService/ModelInfer",
                                           service_pb2.ModelInferRequest.SerializeToString,
                                           service_pb2.ModelInferResponse.FromString)
        contents = {"FP32": ("fp32_contents", [float(pixel) / 255 for pixel in pixels()[0]], [1, 28, 28]),
                    "UINT8": ("uint_contents", pixels()[0].tolist(), [28, 28, 1]),
                    "BYTES": ("bytes_contents", [pictures.seven()], [1])}
        for datatype, (field, values, shape) in contents.items():
            request = service_pb2.ModelInferRequest(model_name="digits", id=f"of {datatype}")
            wanted = request.inputs.add(name="image", datatype=datatype, shape=shape)
            getattr(wanted.contents, field).extend(values)
            answer = tritonclient.grpc.InferResult(infer(request, timeout=60))
            self.assertEqual(answer.as_numpy("label").tolist(), [7])
            self.assertEqual(len(answer.get_response().outputs), 7)
        over_http = self.server.request("POST", "/v2/models/digits/infer", pixels().tobytes(),
                                        {"Inference-Header-Content-Length": "0"})
        self.assertEqual(over_http.status, 200)
        digests = {record["upload"]["sha256"] for record in self.server.history()}
        self.assertEqual(len(digests), 2)  # of the pixels, however they came, and of the file

    def test_a_batch_is_as_many_records_of_one_commit(self):
        before = self.commits()
        batch = numpy.concatenate([pixels(), 0 * pixels(), pixels()])
        result = self.triton.infer("digits", [tensor(batch.reshape(3, 28, 28, 1), "UINT8")])
        self.assertEqual(result.as_numpy("label").tolist()[::2], [7, 7])
        self.assertEqual(result.as_numpy("reason").tolist(), [b"", b"blank", b""])
        self.assertEqual([record["id"].encode() for record in reversed(self.server.history())],
                         result.as_numpy("record").tolist())
        self.assertEqual(self.commits(), before + 1)
        largest = self.triton.infer("digits", [tensor(numpy.repeat(pixels(), 256, 0), "UINT8")])
        self.assertEqual(largest.as_numpy("label").tolist(), [7] * 256)

    def commits(self):
        return self.figure("espy_commit_seconds_count")

    def figure(self, name):
        lines = [line for line in self.server.get("/metrics").text.splitlines() if line.startswith(name)]
        return float(lines[0].rsplit(" ", 1)[1]) if lines else 0

    def test_an_id_makes_a_retry_the_same_record_also_over_http(self):
        first = self.triton.infer("digits", [seven()], request_id="1")
        self.assertEqual(first.get_response().id, "1")
        again = self.triton.infer("digits", [seven()], request_id="1")
        self.assertEqual(again.as_numpy("record"), first.as_numpy("record"))
        by_metadata = self.triton.infer("digits", [seven()], headers={"idempotency-key": "1"})
        self.assertEqual(by_metadata.as_numpy("record"), first.as_numpy("record"))
        self.assertEqual(by_metadata.get_response().id, "")
        over_http = self.server.request("POST", "/v2/models/digits/infer", pixels().tobytes(),
                                        {"Inference-Header-Content-Length": "0", "Idempotency-Key": "1"})
        self.assertEqual(over_http.status, 200)
        self.assertIn(first.as_numpy("record")[0], over_http.body)
        self.assertEqual(len(self.server.history()), 1)
        self.triton.infer("digits", [tensor(0 * pixels(), "UINT8")], request_id="1")
        self.assertEqual(len(self.server.history()), 2)

    def test_classifies_and_keeps_file_name_and_subject(self):
        outputs = [tritonclient.grpc.InferRequestedOutput("probabilities", class_count=3)]
        result = self.triton.infer("digits", [tensor(numpy.array([pictures.seven()], object), "BYTES")], outputs=outputs,
                                   parameters={"file_name": "folder/seven.png"}, headers={"espy-subject": "ann"})
        self.assertEqual(result.as_numpy("probabilities").shape, (1, 3))
        value, label, name = result.as_numpy("probabilities")[0][0].decode().split(":")
        self.assertEqual((label, name), ("7", "7"))
        record = self.server.history()[0]
        self.assertAlmostEqual(float(value), record["confidence"], places=5)
        self.assertEqual((record["file_name"], record["subject"]), ("seven.png", "ann"))
        self.assertEqual(self.server.get(record["upload"]["url"]).body, pictures.seven())

    def test_says_what_is_wrong(self):
        with self.refused(Code.NOT_FOUND, "there is no model letters; there are digits, garments"):
            self.triton.infer("letters", [seven()])
        with self.refused(Code.NOT_FOUND, "which is no number"):
            self.triton.infer("digits", [seven()], model_version="latest")
        with self.refused(Code.INVALID_ARGUMENT, "must be from 0 to 1"):
            self.triton.infer("digits", [tensor(pixels().astype(numpy.float32), "FP32")])
        with self.refused(Code.INVALID_ARGUMENT, "picture 1: "):
            self.triton.infer("digits", [tensor(numpy.array([pictures.seven(), b"no picture"], object), "BYTES")])
        with self.refused(Code.INVALID_ARGUMENT, "there is no output logits"):
            self.triton.infer("digits", [seven()], outputs=[tritonclient.grpc.InferRequestedOutput("logits")])
        with self.refused(Code.NOT_FOUND, "there is no model letters"):
            self.triton.load_model("letters")
        with self.refused(Code.INVALID_ARGUMENT, "the server's own files"):
            self.triton.load_model("digits", config="{}")
        with self.refused(Code.UNIMPLEMENTED, "there is no such method"):
            self.triton.get_trace_settings()
        self.assertEqual(self.server.history(), [])
        # Bytes that are no message, and a message that never comes.
        raw = self.channel().unary_unary("/inference.GRPCInferenceService/ModelInfer", None, None)
        with self.assertRaises(grpc.RpcError) as caught:
            raw(b"\x0a\xff", timeout=60)
        self.assertEqual(caught.exception.code(), Code.INVALID_ARGUMENT)
        empty = self.channel().stream_unary("/inference.GRPCInferenceService/ModelInfer", None, None)
        with self.assertRaises(grpc.RpcError) as caught:
            empty(iter([]), timeout=60)
        self.assertEqual(caught.exception.code(), Code.INVALID_ARGUMENT)

    def test_a_message_may_be_as_large_as_a_body(self):
        raw = self.channel().unary_unary("/inference.GRPCInferenceService/ModelInfer", None, None)
        with self.assertRaises(grpc.RpcError) as caught:
            raw(b"\0" * (17 << 20), timeout=60)
        self.assertEqual(caught.exception.code(), Code.RESOURCE_EXHAUSTED)
        self.assertTrue(self.triton.is_server_ready())

    def test_a_compressed_message_may_be_as_large_inflated(self):
        before = peak_memory(self.server)
        raw = self.channel().unary_unary("/inference.GRPCInferenceService/ModelInfer", None, None)
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            with self.subTest(compression=compression):
                with self.assertRaises(grpc.RpcError) as caught:
                    raw(b"\0" * (300 << 20), timeout=60, compression=compression)
                self.assertEqual(caught.exception.code(), Code.INVALID_ARGUMENT)
                self.assertIn("more than 16842752 bytes", caught.exception.details())
        self.assertLess(peak_memory(self.server) - before, 100 << 20)

    def test_a_streams_error_names_its_request(self):
        stream = self.channel().stream_stream("/inference.GRPCInferenceService/ModelStreamInfer",
                                              service_pb2.ModelInferRequest.SerializeToString,
                                              service_pb2.ModelStreamInferResponse.FromString)
        answers = stream(iter([service_pb2.ModelInferRequest(model_name="letters", id="a"),
                               service_pb2.ModelInferRequest(model_name="digits", id="b")]), timeout=60)
        self.assertEqual([(bool(answer.error_message), answer.infer_response.id) for answer in answers],
                         [(True, "a"), (True, "b")])

    def test_unloads_and_loads(self):
        self.triton.unload_model("digits")
        self.assertFalse(self.triton.is_model_ready("digits"))
        index = {model.name: model for model in self.triton.get_model_repository_index().models}
        self.assertEqual((index["digits"].state, index["digits"].reason), ("UNAVAILABLE", "it was unloaded"))
        self.triton.load_model("digits")
        self.assertTrue(self.triton.is_model_ready("digits"))

    def test_many_at_once(self):
        results = queue.Queue()
        for i in range(300):
            self.triton.async_infer("digits", [seven()], lambda result, error: results.put((result, error)),
                                    request_id=str(i))
        for _ in range(300):
            result, error = results.get(timeout=60)
            self.assertIsNone(error)
            self.assertEqual(result.as_numpy("label").tolist(), [7])
        self.assertEqual(len(self.server.history()), 300)

    def test_asyncio(self):
        async def run():
            async with tritonclient.grpc.aio.InferenceServerClient(self.address) as client:
                self.assertTrue(await client.is_server_live())
                results = await asyncio.gather(*(client.infer("digits", [seven()], compression_algorithm=algorithm)
                                                 for algorithm in (None, "gzip") for _ in range(20)))
                self.assertEqual([result.as_numpy("label").tolist() for result in results], [[7]] * 40)

                async def requests():
                    for i in range(150):
                        yield {"model_name": "digits" if i % 3 else "letters", "inputs": [seven()], "request_id": str(i)}

                answers = [answer async for answer in client.stream_infer(requests())]
                self.assertEqual([error is None for _, error in answers], [i % 3 > 0 for i in range(150)])
                self.assertEqual([result.get_response().id for result, error in answers if error is None],
                                 [str(i) for i in range(150) if i % 3])
        asyncio.run(run())
        self.assertEqual(len(self.server.history()), 140)

    def test_streaming(self):
        results = queue.Queue()
        self.triton.start_stream(lambda result, error: results.put((result, error)))
        for i in range(200):
            self.triton.async_stream_infer("digits" if i != 100 else "letters", [seven()], request_id=str(i))
        self.triton.stop_stream()
        for i in range(200):
            result, error = results.get(timeout=60)
            if i == 100:
                self.assertIn("there is no model letters", error.message())
            else:
                self.assertIsNone(error)
                self.assertEqual((result.get_response().id, result.as_numpy("label").tolist()), (str(i), [7]))
        self.assertEqual(len(self.server.history()), 199)

    def test_is_counted_like_http(self):
        self.triton.infer("digits", [seven()])
        with self.refused(Code.NOT_FOUND, "letters"):
            self.triton.infer("letters", [seven()])
        name = 'espy_http_request_seconds_count{method="POST",route="/inference.GRPCInferenceService/ModelInfer",status="%s"}'
        self.assertEqual((self.figure(name % "2xx"), self.figure(name % "4xx")), (1, 1))
        self.assertEqual(self.figure("espy_http_requests_in_progress"), 1)  # the one that asks


class HealthTest(Case):
    def watch(self, service, statuses):
        call = self.channel().unary_stream("/grpc.health.v1.Health/Watch",
                                           lambda name: b"\x0a" + bytes([len(name)]) + name.encode(), lambda answer: answer[1])

        def follow():
            try:
                for status in call(service):
                    statuses.put(status)
            except grpc.RpcError as error:
                statuses.put(error.code())

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        return thread

    def test_check_and_watch_follow_readiness(self):
        self.start()
        self.server.wait_until_ready()
        channel = self.channel()
        for service in ("", "inference.GRPCInferenceService"):
            self.assertEqual(health(channel, service), SERVING)
        with self.assertRaises(grpc.RpcError) as caught:
            health(channel, "other")
        self.assertEqual(caught.exception.code(), Code.NOT_FOUND)
        whole, other = queue.Queue(), queue.Queue()
        self.watch("", whole)
        self.watch("other", other)
        self.assertEqual(whole.get(timeout=60), SERVING)
        self.assertEqual(other.get(timeout=60), SERVICE_UNKNOWN)
        triton = self.client()
        for name in ("digits", "garments"):
            triton.unload_model(name)
        self.assertEqual(whole.get(timeout=60), NOT_SERVING)
        self.assertEqual(health(channel), NOT_SERVING)
        self.assertFalse(triton.is_server_ready())
        triton.load_model("digits")
        self.assertEqual(whole.get(timeout=60), SERVING)
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(time.monotonic() - began, 20)  # whoever watches holds nothing up
        self.assertEqual(whole.get(timeout=60), NOT_SERVING)
        self.assertEqual(whole.get(timeout=60), Code.UNAVAILABLE)

    def test_without_the_flag_nothing_listens(self):
        server = self.serve()
        self.assertNotIn("grpc", server.log)
        server.stop()
        taken = self.start()
        port = self.address.rsplit(":", 1)[1]
        second = self.run_espy("serve", "--port", "0", "--grpc-port", port, "--store", "sqlite::memory:", status=1)
        self.assertIn(f"cannot listen on 127.0.0.1:{port} for gRPC", second.stderr)
        self.assertEqual(taken.stop(), 0)


class LoadTest(Case):
    def large(self):
        """Returns a picture that takes long: the capacity is reached with few requests."""
        picture = Image.open(io.BytesIO(pictures.seven(280))).resize((1800, 1800))
        return tensor(numpy.array([pictures.encoded(picture)], object), "BYTES")

    def test_overload_is_refused_at_once(self):
        self.start("--max-wait", "0.03", "--threads", "1")
        self.server.wait_until_ready()
        outcomes = queue.Queue()
        client, request = self.client(), self.large()
        client.infer("digits", [request])
        for _ in range(200):
            client.async_infer("digits", [request], lambda result, error: outcomes.put(error))
        errors = [outcomes.get(timeout=60) for _ in range(200)]
        refused = [error for error in errors if error is not None]
        self.assertTrue(0 < len(refused) < 200, f"{len(refused)} refused")
        for error in refused:
            self.assertEqual(error.status(), "StatusCode.UNAVAILABLE")
            self.assertIn("requests wait for", error.message())
        self.assertEqual(len(self.server.history()), 201 - len(refused))

    def test_nothing_is_predicted_after_its_deadline(self):
        self.start("--threads", "1", "--max-wait", "60", "--max-pixels", "200000000")
        self.server.wait_until_ready()
        client, outcomes = self.client(), queue.Queue()
        batch = tensor(numpy.array([pictures.encoded(Image.open(io.BytesIO(pictures.seven(280))).resize((1800, 1800)))] * 32,
                                   object), "BYTES")
        client.infer("digits", [seven()])
        client.async_infer("digits", [batch], lambda result, error: outcomes.put(error))  # the loop is busy now
        time.sleep(0.1)
        for _ in range(20):
            client.async_infer("garments", [seven()], lambda result, error: outcomes.put(error), client_timeout=0.05)
        errors = [outcomes.get(timeout=60) for _ in range(21)]
        late = [error for error in errors if error is not None]
        self.assertGreater(len(late), 0)
        for error in late:
            self.assertEqual(error.status(), "StatusCode.DEADLINE_EXCEEDED")
        client.infer("digits", [seven()])  # behind them
        self.assertEqual(len(self.server.history("&model=garments")), 20 - len(late))

    def test_what_is_in_hand_is_answered_when_it_stops(self):
        self.start("--threads", "1")
        self.server.wait_until_ready()
        client, outcomes, request = self.client(), queue.Queue(), self.large()
        client.infer("digits", [request])
        for _ in range(10):
            client.async_infer("digits", [request], lambda result, error: outcomes.put((result, error)))
        stream = queue.Queue()
        other = self.client()
        other.start_stream(lambda result, error: stream.put((result, error)))
        other.async_stream_infer("digits", [request])
        first = outcomes.get(timeout=60)
        self.assertEqual(self.server.stop(), 0)
        others = [outcomes.get(timeout=60) for _ in range(9)]
        answered = [result for result, error in [first, *others] if error is None]
        other.stop_stream()
        listed = self.run_espy("history", "export", "--format", "ndjson", "--store", "sqlite:history.db").stdout
        records = len(listed.splitlines())
        streamed = [result for result, error in list(stream.queue) if error is None]
        self.assertEqual(records, 1 + len(answered) + len(streamed))

    def test_a_stream_that_says_nothing_ends_and_health_finds_room_beside_many(self):
        self.start("--idle-timeout", "3", "--max-connections", "2")
        self.server.wait_until_ready()
        ending = threading.Event()

        def nothing():
            ending.wait(60)
            yield from ()

        channels = [self.channel() for _ in range(2)]
        for channel in channels:  # connected, so that both streams begin well within the time that they may be idle
            grpc.channel_ready_future(channel).result(timeout=60)
        streams = [channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer", None, None)(nothing())
                   for channel in channels]
        infer = self.channel().unary_unary("/inference.GRPCInferenceService/ModelInfer", None, None)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:  # until both streams have begun
            with self.assertRaises(grpc.RpcError) as caught:
                infer(b"", timeout=60)
            if caught.exception.code() == Code.UNAVAILABLE:
                break
            time.sleep(0.01)
        self.assertIn("too many calls already, limit is 2", caught.exception.details())
        self.assertEqual(health(self.channel()), SERVING)
        for stream in streams:
            with self.assertRaises(grpc.RpcError) as caught:
                next(stream)
            self.assertEqual(caught.exception.code(), Code.UNAVAILABLE)
            self.assertIn("no message came for 3 s", caught.exception.details())
        ending.set()

    def test_who_sends_nothing_is_cut_off(self):
        self.start("--request-timeout", "0.5")
        self.server.wait_until_ready()
        never = self.channel().stream_unary("/inference.GRPCInferenceService/ModelInfer", None, None)
        ending = threading.Event()

        def nothing():
            ending.wait(20)
            yield from ()

        with self.assertRaises(grpc.RpcError) as caught:
            never(nothing())
        ending.set()
        self.assertEqual(caught.exception.code(), Code.DEADLINE_EXCEEDED)
        self.assertIn("not complete after 0.5 s", caught.exception.details())


class AccessTest(Case):
    def make_key(self, name, scope):
        return self.run_espy("key", "create", name, "--keys", "espy.keys", "--scope", scope).stdout.strip()

    def test_keys_and_scopes_are_those_of_http(self):
        ann, root = self.make_key("ann", "predict"), self.make_key("root", "admin")
        self.start("--keys", "espy.keys")
        self.server.wait_until_ready()
        client = self.client()
        self.assertTrue(client.is_server_live())
        self.assertTrue(client.is_server_ready())
        self.assertEqual(health(self.channel()), SERVING)
        with self.refused(Code.UNAUTHENTICATED, "this needs a key"):
            client.infer("digits", [seven()])
        with self.refused(Code.UNAUTHENTICATED, "there is no such key"):
            client.infer("digits", [seven()], headers={"authorization": "Bearer espy_" + "0" * 64})
        with self.refused(Code.PERMISSION_DENIED, "root may not do this, only admin"):
            client.infer("digits", [seven()], headers={"authorization": f"Bearer {root}"})
        for headers in ({"authorization": f"Bearer {ann}"}, {"authorization": f"bearer {ann}"}, {"x-api-key": ann}):
            self.assertEqual(client.infer("digits", [seven()], headers=headers).as_numpy("label").tolist(), [7])
        with self.refused(Code.PERMISSION_DENIED, "ann may not do this, only predict"):
            client.unload_model("digits", headers={"authorization": f"Bearer {ann}"})
        client.unload_model("digits", headers={"authorization": f"Bearer {root}"})
        errors = queue.Queue()
        client.start_stream(lambda result, error: errors.put(error))
        self.assertEqual(errors.get(timeout=60).status(), "StatusCode.UNAUTHENTICATED")

    def test_rates_are_shared_with_http(self):
        self.start("--rate", "2")
        self.server.wait_until_ready()
        client = self.client()
        refused = 0
        for _ in range(20):
            try:
                client.infer("digits", [seven()])
            except tritonclient.grpc.InferenceServerException as error:
                self.assertEqual(error.status(), "StatusCode.RESOURCE_EXHAUSTED")
                self.assertIn("this address sends more than 2 requests a second", error.message())
                refused += 1
        self.assertGreater(refused, 5)
        statuses = {self.server.request("POST", "/api/predict", pictures.seven()).status for _ in range(10)}
        self.assertIn(429, statuses)
        stream = queue.Queue()
        time.sleep(1)
        client.start_stream(lambda result, error: stream.put(error))
        for _ in range(30):
            client.async_stream_infer("digits", [seven()])
        outcomes = [stream.get(timeout=60) for _ in range(30)]
        self.assertTrue(0 < sum(error is None for error in outcomes) < 30)

    def test_tls_with_a_certificate_that_changes(self):
        certificate, key = make_certificate(self.folder, "first")
        self.start("--tls-certificate", certificate, "--tls-key", key)
        self.address = self.address.replace("127.0.0.1", "localhost")

        def label():
            client = self.client(ssl=True, root_certificates=str(certificate))
            return client.infer("digits", [seven()], client_timeout=60).as_numpy("label").tolist()

        self.assertEqual(label(), [7])
        with self.assertRaises(tritonclient.grpc.InferenceServerException):
            self.client().is_server_live(client_timeout=20)
        old = self.presented()
        other, other_key = make_certificate(self.folder, "second")
        # A certificate that does not fit its key leaves the old one in use.
        before = certificate.read_bytes()
        certificate.write_bytes(other.read_bytes())
        self.wait_for("still in use")
        self.assertEqual(self.presented(), old)
        certificate.write_bytes(before)
        other_key.rename(key)
        other.rename(certificate)
        deadline = time.monotonic() + 60
        while self.presented() == old:
            self.assertLess(time.monotonic(), deadline, self.server.log)
            time.sleep(0.1)
        self.assertEqual(label(), [7])
        for version, works in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            done = subprocess.run(["openssl", "s_client", "-connect", self.address, "-alpn", "h2", version],
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
            self.assertEqual(b"BEGIN CERTIFICATE" in done.stdout, works, version)

    def presented(self):
        """Returns the certificate; behind it stands what HTTP/2 begins with, which is no text."""
        done = subprocess.run(["openssl", "s_client", "-connect", self.address, "-alpn", "h2"], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=20)
        return re.search(b"-----BEGIN CERTIFICATE-----.*?-----END", done.stdout, re.S)[0]

    def wait_for(self, words):
        deadline = time.monotonic() + 60
        while words not in self.server.log:
            self.assertLess(time.monotonic(), deadline, self.server.log)
            time.sleep(0.05)

    def test_the_access_log_has_it(self):
        self.start("--access-log", "access.log")
        self.client().infer("digits", [seven()], headers={"x-request-id": "abc"})
        path = self.folder / "access.log"
        deadline = time.monotonic() + 60
        while not (text := path.read_text() if path.exists() else ""):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        for piece in ('"abc"', '"/inference.GRPCInferenceService/ModelInfer"', '"status":200', "127.0.0.1", '"digits"',
                      self.server.history()[0]["id"]):
            self.assertIn(piece, text)


if __name__ == "__main__":
    espy.main()
