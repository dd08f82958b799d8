"""Trains the recipes mlp and deep with Keras' model.fit on TensorFlow. Usage: keras_worker.py THREADS; see worker.py.

The data is noise of MNIST's size: the time does not depend on it.
"""
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras  # noqa: E402
import numpy  # noqa: E402
import tensorflow  # noqa: E402
from keras import layers  # noqa: E402

import worker  # noqa: E402

MAKE = {
    "mlp": lambda: keras.Sequential([layers.Input((28, 28, 1)), layers.Flatten(), layers.Dense(128, activation="relu"),
                                     layers.Dense(10, dtype="float32")]),
    "deep": lambda: keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(32, 5, padding="same", activation="relu"), layers.MaxPool2D(),
        layers.Conv2D(64, 5, padding="same", activation="relu"), layers.MaxPool2D(),
        layers.Flatten(), layers.Dense(1024, activation="relu"), layers.Dropout(0.5),
        layers.Dense(10, dtype="float32")]),
}
models = {}


def make_model(recipe, precision, jit, steps_per_execution):
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bf16" else "float32")
    model = MAKE[recipe]()
    model.compile(optimizer=keras.optimizers.Adam(worker.LEARNING_RATE[recipe]),
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"],
                  jit_compile=jit, steps_per_execution=steps_per_execution)
    return model


def fit(model, batch, steps):
    """Returns the seconds that so many steps take."""
    pictures = numpy.random.rand(steps * batch, 28, 28, 1).astype("float32")
    labels = numpy.random.randint(0, 10, steps * batch)
    began = time.perf_counter()
    model.fit(pictures, labels, batch_size=batch, epochs=1, verbose=0)
    return time.perf_counter() - began


def train(recipe, precision="f32", jit="auto", steps_per_execution=1, seconds=1.0):
    key = (recipe, precision, jit, steps_per_execution)
    batch = worker.BATCH[recipe]
    if key not in models:
        models[key] = make_model(*key)
        fit(models[key], batch, 2 * steps_per_execution)  # traces and compiles
    short = 2 * steps_per_execution
    steps, spent = short, fit(models[key], batch, short)
    if spent < seconds:
        # A longer one, less what model.fit takes to begin and to end: that is in both, and no part of a step.
        begin = min(spent, fit(models[key], batch, short))
        steps = short + steps_per_execution * max(2, int(seconds / begin * short) // steps_per_execution)
        spent = fit(models[key], batch, steps)
        spent, steps = spent - begin, steps - short
    return {"seconds_per_epoch": worker.EPOCH / batch * spent / steps}


if __name__ == "__main__":
    threads = int(sys.argv[1])
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    worker.serve(f"TensorFlow {tensorflow.__version__} with Keras {keras.__version__}", train)
