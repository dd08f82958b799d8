"""What the workers of bench/engine share: each measures another library in a process of its own.

A worker says {"version": ...} when it is ready, then answers one line of JSON with one line of JSON until its input
ends. So a library is loaded once, and the libraries can take turns.
"""
import json
import sys
import time

# The classic recipes: samples in a batch, learning rate of Adam.
BATCH = {"mlp": 32, "deep": 50}
LEARNING_RATE = {"mlp": 1e-3, "deep": 1e-4}
EPOCH = 60_000


def serve(version, answer):
    """Answers requests with answer(**request); an exception's text goes back as {"error": ...}."""
    out = sys.stdout
    sys.stdout = sys.stderr  # a library's own talk does not belong into the answers
    print(json.dumps({"version": version}), file=out, flush=True)
    for line in sys.stdin:
        try:
            reply = answer(**json.loads(line))
        except Exception as error:  # whatever a library throws is its answer
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        print(json.dumps(reply), file=out, flush=True)


def rate(call, seconds):
    """Returns calls a second, after a fifth of the time as warm-up."""
    end = time.perf_counter() + seconds / 5
    call()
    while time.perf_counter() < end:
        call()
    calls, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        call()
        calls += 1
    return calls / spent
