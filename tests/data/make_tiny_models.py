"""Makes `tests/data/tiny_*.tflite`: real models of a few kB whose answers can be worked out by hand.

The tests of `seg_edge` run on machines without TensorFlow, so what this writes is committed. Run it again, and commit
the outcome, only when a model must change:

    python tests/data/make_tiny_models.py

Made with TensorFlow 2.21, Keras 3.15. Each is one 2x2 convolution of stride 2 with weights set by hand, so an input of
32x32 gives 16x16 and each output pixel sees 2x2 input pixels only. With `r`, `g`, `b` the means of those over 0..1:

| file                          | in                  | out                                                        |
|-------------------------------|---------------------|------------------------------------------------------------|
| `tiny_two_uint8.tflite`       | uint8, quantised    | uint8 logits `-8 (m - 0.5)`, `8 (m - 0.5)`, `m = (r+g+b)/3` |
| `tiny_two_int8.tflite`        | int8, quantised     | the same in int8                                           |
| `tiny_four_uint8.tflite`      | uint8, quantised    | uint8 logits `1`, `8r-4g-4b`, `8g-4r-4b`, `8b-4r-4g`       |
| `tiny_sigmoid_float32.tflite` | float32             | float32, one channel: `sigmoid(16 (m - 0.5))`              |
| `tiny_raw_uint8.tflite`       | uint8, not quantised| float32 logits of `tiny_two`, the model divides by 255     |
| `tiny_two_outputs.tflite`     | float32             | two outputs                                                |
| `tiny_grey.tflite`            | float32, 1 channel  | float32, one channel                                       |
| `tiny_any_size.tflite`        | float32, any size   | float32 logits of `tiny_two`                               |
"""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).parent
SIDE = 32
BRIGHTNESS = np.full((3, 1), 8 / 3)
COLOURS = np.array([[0, 8, -4, -4], [0, -4, 8, -4], [0, -4, -4, 8]])


def image(channels: int = 3, side: int | None = SIDE, dtype: str = "float32") -> keras.KerasTensor:
    """The input; the batch is fixed at 1, else the converter leaves SHAPE and PACK ops behind."""
    return keras.Input((side, side, channels), batch_size=1, dtype=dtype)


def conv(x: keras.KerasTensor, weights: np.ndarray, bias: list[float], **options: str):
    """A 2x2 mean of stride 2, then `weights` (channels in, channels out) and `bias`."""
    kernel = np.tile(weights[np.newaxis, np.newaxis] / 4, (2, 2, 1, 1))
    return keras.layers.Conv2D(
        weights.shape[1],
        2,
        strides=2,
        kernel_initializer=lambda shape, dtype=None: tf.constant(kernel.reshape(shape), dtype),
        bias_initializer=lambda shape, dtype=None: tf.constant(bias, dtype, shape),
        **options,
    )(x)


def two_classes(x: keras.KerasTensor) -> keras.KerasTensor:
    """Bright is foreground."""
    return conv(x, np.hstack([-BRIGHTNESS, BRIGHTNESS]), [4.0, -4.0])


def samples() -> Iterator[list[np.ndarray]]:
    """Calibration: every corner of the colour cube, and noise."""
    for corner in np.ndindex(2, 2, 2):
        yield [np.full((1, SIDE, SIDE, 3), corner, np.float32)]
    yield [np.random.default_rng(0).random((1, SIDE, SIDE, 3), np.float32)]


def write(name: str, x: keras.KerasTensor, y: object, quantised: tf.DType | None = None) -> None:
    """Converts and writes `tiny_{name}.tflite`."""
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(x, y))
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = quantised
    content = converter.convert()
    (FOLDER / f"tiny_{name}.tflite").write_bytes(content)
    print(f"tiny_{name}.tflite: {len(content):,} bytes")


def main() -> None:
    """Writes all of them."""
    x = image()
    write("two_uint8", x, two_classes(x), tf.uint8)
    x = image()
    write("two_int8", x, two_classes(x), tf.int8)
    x = image()
    write("four_uint8", x, conv(x, COLOURS, [1.0, 0.0, 0.0, 0.0]), tf.uint8)
    x = image()
    write("sigmoid_float32", x, conv(x, 2 * BRIGHTNESS, [-8.0], activation="sigmoid"))
    x = image(dtype="uint8")
    write("raw_uint8", x, two_classes(keras.layers.Rescaling(1 / 255)(x)))
    x = image()
    write("two_outputs", x, [two_classes(x), conv(x, BRIGHTNESS, [0.0])])
    x = image(channels=1)
    write("grey", x, conv(x, np.ones((1, 1)), [0.0], activation="sigmoid"))
    x = image(side=None)
    write("any_size", x, conv(x, np.hstack([-BRIGHTNESS, BRIGHTNESS]), [4.0, -4.0], padding="same"))


if __name__ == "__main__":
    main()
