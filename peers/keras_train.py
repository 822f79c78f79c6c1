"""Keras' twins of this project's networks: training images a second, as one line of JSON.

    python3 -m venv .venv-keras && .venv-keras/bin/pip install keras tensorflow-cpu
    .venv-keras/bin/python peers/keras_train.py --model=mini_xception --batch=128

Whole training steps of the compiled model on a ready batch, without augmentation and without an input pipeline: the
most favourable case for Keras. Needs nothing of this project; `python -m tools.benchmark compare` runs it.
"""

import argparse
import json
import os
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers


def conv(features, size, **options):
    """A convolution with ReLU."""
    return layers.Conv2D(features, size, activation="relu", **{"padding": "same"} | options)


def mini_xception(x, classes):
    for _ in range(2):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False)(x)))
    for width in (16, 32, 64, 128):
        residual = layers.Conv2D(width, 1, strides=2, padding="same", use_bias=False)(x)
        residual = layers.BatchNormalization()(residual)
        x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.SeparableConv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(layers.BatchNormalization()(x))
        x = layers.Add()([x, residual])
    return layers.GlobalAveragePooling2D()(layers.Conv2D(classes, 3, padding="same")(x))


def jaffe_basic(x, classes):
    x = layers.MaxPooling2D(3)(conv(5, 5)(x))
    x = layers.MaxPooling2D(2)(conv(15, 5, strides=3, padding="valid")(x))
    return layers.Dense(classes)(layers.Dense(64, activation="relu")(layers.Flatten()(x)))


def jaffe_dropout(x, classes):
    x = layers.Dropout(0.25)(layers.MaxPooling2D(3)(conv(5, 5)(x)))
    x = layers.MaxPooling2D(2)(conv(15, 5, strides=3, padding="valid")(x))
    x = layers.Dropout(0.25)(conv(80, 5, strides=5, padding="valid")(x))
    return layers.Dense(classes)(layers.Dense(64, activation="relu")(layers.Flatten()(x)))


def jaffe_best(x, classes):
    x = layers.MaxPooling2D(2)(conv(6, 5)(x))
    x = layers.MaxPooling2D(2)(conv(16, 5)(x))
    x = layers.Flatten()(layers.Dropout(0.25)(conv(120, 5, padding="valid")(x)))
    return layers.Dense(classes)(layers.Dropout(0.5)(layers.Dense(84, activation="relu")(x)))


def six_conv(x, classes):
    for kernel, pool in ((8, 1), (8, 2), (8, 1), (4, 4), (4, 1), (4, 1)):
        x = conv(22, kernel)(x)
        x = layers.MaxPooling2D(pool)(x) if pool > 1 else x
    return layers.Dense(classes)(layers.Dropout(0.5)(layers.Flatten()(x)))


# Network: (input shape, classes, parameters), the last to be sure that it is the twin.
TWINS = {
    mini_xception: ((48, 48, 1), 7, 58_423),
    jaffe_basic: ((128, 128, 3), 7, 37_349),
    jaffe_dropout: ((128, 128, 3), 7, 37_989),
    jaffe_best: ((128, 128, 3), 7, 7_954_391),
    six_conv: ((48, 48, 1), 6, 91_482),
}


def main():
    by_name = {build.__name__: build for build in TWINS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=by_name, default="mini_xception")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0, help="least duration of one measurement")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--jit-compile", action="store_true", help="compile the step by XLA")
    flags = parser.parse_args()

    build = by_name[flags.model]
    shape, classes, parameters = TWINS[build]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.Softmax()(build(inputs, classes)))
    assert model.count_params() == parameters, model.count_params()
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=flags.jit_compile)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (flags.batch, *shape)).astype("f4")
    y = rng.integers(0, classes, flags.batch)

    def images_per_second():
        start, steps = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < flags.seconds or not steps:
            model.train_on_batch(x, y)
            steps += 1
        return round(steps * flags.batch / spent)

    for _ in range(5):
        model.train_on_batch(x, y)
    runs = [images_per_second() for _ in range(flags.runs)]
    print(
        json.dumps(
            {
                "peer": f"Keras {keras.__version__} on TensorFlow" + ", jit_compile" * flags.jit_compile,
                "model": flags.model,
                "batch": flags.batch,
                "images_per_s": float(np.median(runs)),
                "runs": runs,
            }
        )
    )


if __name__ == "__main__":
    main()
