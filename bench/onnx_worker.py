"""Runs model files with ONNX Runtime. Usage: onnx_worker.py; see worker.py.

All graph optimisations are on. Inputs and outputs are bound, so that nothing is copied and little of Python is timed.
"""
import sys
import threading
import time

import numpy
import onnxruntime

import worker


def load(file, threads):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def bound_call(session, batch):
    """Returns a function that predicts one batch."""
    # As espy's own: half of each picture is paper.
    inputs = numpy.zeros((batch, 1, 28, 28), "float32")
    inputs[..., 7:21] = 0.5
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, inputs)
    binding.bind_output(session.get_outputs()[0].name)
    return lambda: session.run_with_iobinding(binding)


def predict(file, batch, threads, way, seconds):
    """`way` is "inside" for threads in ONNX Runtime, "outside" for as many callers of one session."""
    if way == "inside":
        return {"images_a_second": batch * worker.rate(bound_call(load(file, threads), batch), seconds)}
    session = load(file, 1)
    rates = []
    callers = [threading.Thread(target=lambda: rates.append(worker.rate(bound_call(session, batch), seconds)))
               for _ in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return {"images_a_second": batch * sum(rates)}


def first_answer(file):
    began = time.perf_counter()
    bound_call(load(file, 1), 1)()
    return {"milliseconds": 1000 * (time.perf_counter() - began)}


def answer(what, **request):
    return {"predict": predict, "first_answer": first_answer}[what](**request)


if __name__ == "__main__":
    sys.setswitchinterval(1e-4)
    worker.serve(f"ONNX Runtime {onnxruntime.__version__}", answer)
