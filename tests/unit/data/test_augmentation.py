"""Every augmentation against its definition, OpenCV, or an independent computation."""

import cv2
import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.ndimage
from hypothesis import given, settings

from configs import default
from fer_jax.data import augmentation, sampler
from fer_jax.data.examples import Examples
from fer_jax.training.program import TrainProgram
from fer_jax.training.setup import Setup, from_variables

SIZE = (12, 16)  # not square, so that exchanged axes are seen
RANDOM_IMAGES = np.random.default_rng(0).integers(0, 256, (8, *SIZE, 3), dtype=np.uint8)
TARGETS = np.eye(8, dtype=np.float32)
warp = jax.jit(augmentation.warp, static_argnames="interpolation")
warp_by_products = jax.jit(augmentation.warp_by_products, static_argnames=("interpolation", "dtype"))
either_warp = pytest.mark.parametrize("warp", [warp, warp_by_products], ids=["gather", "products"])
opencv = pytest.mark.parametrize(
    ("interpolation", "flags"), [("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)]
)
affine_matrices = jax.jit(augmentation.affine_matrices, static_argnums=0)
erase_boxes = jax.jit(augmentation.erase_boxes, static_argnums=0)
few = settings(deadline=None, max_examples=30)


def config(**changes):
    """All transforms off but the given ones."""
    result = default.get_config().augment
    result.flip = 0.0
    result.update(changes)
    return result


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def run(conf, images, targets=None, seed=0):
    targets = np.full((len(images), 2), 0.5, np.float32) if targets is None else targets
    out = jax.jit(lambda *args: augmentation.augment(conf, *args))(images, targets, keys(len(images), seed))
    return tuple(np.asarray(value) for value in out)


def one_matrix(size=SIZE, **values):
    defaults = {"flip": False, "degrees": 0.0, "shift_y": 0.0, "shift_x": 0.0, "zoom_y": 1.0, "zoom_x": 1.0}
    return affine_matrices(size, **{k: jnp.asarray([v]) for k, v in (defaults | values).items()})


def draws_of(n, **columns):
    values = dict.fromkeys(augmentation.Draws._fields, jnp.full(n, 0.5))
    return augmentation.Draws(**values | {name: jnp.asarray(value) for name, value in columns.items()})


class TestWarp:
    coefficient = st.floats(-1.5, 1.5, width=32)

    @either_warp
    @few
    @given(linear=st.tuples(*[coefficient] * 4), offset=st.tuples(*[st.floats(-20, 20, width=32)] * 2))
    def test_is_scipys_linear_interpolation_with_nearest_edge(self, warp, linear, offset):
        (a, b, d, e), (c, f) = linear, offset
        image = RANDOM_IMAGES[0]
        ours = warp(image[None], jnp.asarray([[[a, b, c], [d, e, f]]], jnp.float32))[0]
        for channel in range(3):
            scipys = scipy.ndimage.affine_transform(
                image[..., channel].astype(np.float64), [[e, d], [b, a]], (f, c), order=1, mode="nearest"
            )
            # the steepest pixels step by 255, and a coordinate near 30 is known to 2e-6 in float32
            np.testing.assert_allclose(ours[..., channel], scipys, atol=5e-3)

    @opencv
    @pytest.mark.parametrize("degrees", [-30, 8, 90])
    @either_warp
    def test_agrees_with_opencv(self, warp, degrees, interpolation, flags):
        smooth = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (48, 48), dtype=np.uint8), (0, 0), 2)
        forward = cv2.getRotationMatrix2D((23.5, 23.5), degrees, 1.0)  # counter-clockwise on the screen
        theirs = cv2.warpAffine(np.float32(smooth), forward, (48, 48), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        ours = warp(smooth[None, ..., None], one_matrix((48, 48), degrees=float(degrees)), interpolation)[0, ..., 0]
        # OpenCV rounds coordinates to 1/32 of a pixel
        np.testing.assert_allclose(ours, theirs, atol=np.abs(np.diff(smooth.astype(float))).max() / 16)

    @opencv
    @either_warp
    def test_is_opencvs_to_rounding_where_opencv_does_not_round_places(self, warp, interpolation, flags):
        matrix = np.array([[1, 0.25, -3.5], [-0.125, 1, 2.75]], np.float32)
        how = {"flags": flags | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
        theirs = cv2.warpAffine(np.float32(RANDOM_IMAGES[0]), matrix, SIZE[::-1], **how)
        ours = warp(RANDOM_IMAGES[:1], jnp.asarray(matrix[None]), interpolation)[0]
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


class TestWarpByProducts:
    MATRICES = np.random.default_rng(3).normal([[1, 0, 0], [0, 1, 0]], [[0.3, 0.3, 6], [0.3, 0.3, 6]], (8, 2, 3))

    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    def test_is_the_gather_in_float64(self, interpolation):
        images = RANDOM_IMAGES.astype(np.float64)
        with jax.enable_x64(True):
            ours = warp_by_products(images, jnp.asarray(self.MATRICES), interpolation)
        np.testing.assert_allclose(ours, gathered(images, self.MATRICES, interpolation), rtol=0, atol=1e-10)

    @pytest.mark.parametrize(("interpolation", "share"), [("bilinear", 1 / 512), ("bicubic", 1 / 128)])
    def test_is_warp_to_rounding_and_in_bfloat16_to_a_small_share_of_the_steepest_step(self, interpolation, share):
        matrices = jnp.asarray(self.MATRICES, jnp.float32)
        exact = warp_by_products(RANDOM_IMAGES, matrices, interpolation)
        np.testing.assert_allclose(exact, warp(RANDOM_IMAGES, matrices, interpolation), rtol=0, atol=2e-2)
        ours = warp_by_products(RANDOM_IMAGES, matrices, interpolation, jnp.bfloat16)
        steepest = np.abs(np.diff(RANDOM_IMAGES.astype(float), axis=2)).max()
        np.testing.assert_allclose(ours, exact, rtol=0, atol=steepest * share)
        # whole pixels are exact
        whole = jnp.broadcast_to(one_matrix(shift_x=-3.0, flip=True), matrices.shape)
        ours = warp_by_products(RANDOM_IMAGES, whole, interpolation, jnp.bfloat16)
        np.testing.assert_array_equal(ours, warp(RANDOM_IMAGES, whole, interpolation))


def gathered(images, matrices, interpolation):
    """The definition, pixel by pixel in float64."""
    height, width = images.shape[1:3]
    y, x = np.mgrid[:height, :width]
    taps = {"bilinear": range(2), "bicubic": range(-1, 3)}[interpolation]

    def weight(distance):
        d = abs(distance)
        if interpolation == "bilinear":
            return np.maximum(0, 1 - d)
        a = -0.75
        near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    result = np.zeros(images.shape)
    for image, matrix, out in zip(images, matrices, result, strict=True):
        at_x, at_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
        for i in taps:
            for j in taps:
                row, column = np.floor(at_y) + i, np.floor(at_x) + j
                pixels = image[np.clip(row, 0, height - 1).astype(int), np.clip(column, 0, width - 1).astype(int)]
                out += (weight(at_y - row) * weight(at_x - column))[..., None] * pixels
    return result


@pytest.mark.parametrize("size", [12, 9, 1])
def test_selected_crops_are_the_slices_bit_by_bit(size):
    corners = np.random.default_rng(5).integers(0, [SIZE[0] - size + 1, SIZE[1] - size + 1], (8, 2))
    images = RANDOM_IMAGES.astype(np.float32) / 7
    expected = augmentation.slices_at(images, size, corners)
    np.testing.assert_array_equal(augmentation.selected_at(images, size, corners), expected)


def test_only_tpus_select_and_warp_by_products():
    platforms = ("cpu", "gpu", "tpu")
    slices, selected = augmentation.slices_at, augmentation.selected_at
    assert [augmentation.crop_of(platform) for platform in platforms] == [slices, slices, selected]
    assert [augmentation.warp_of(platform) is augmentation.warp for platform in platforms] == [True, True, False]


class TestAffineMatrices:
    @either_warp
    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    def test_nothing_flips_and_shifts_by_whole_pixels_are_exact(self, warp, interpolation):
        image = RANDOM_IMAGES[0]
        edge = np.pad(image, ((0, 2), (3, 0), (0, 0)), mode="edge")
        for values, expected in (
            ({}, image),
            ({"flip": True}, image[:, ::-1]),
            ({"shift_y": 2.0, "shift_x": -3.0}, edge[2:, :-3]),
        ):
            np.testing.assert_array_equal(warp(image[None], one_matrix(**values), interpolation)[0], expected)

    @few
    @given(
        st.booleans(), st.floats(-180, 180), st.floats(-9, 9), st.floats(-9, 9), st.floats(0.5, 2), st.floats(0.5, 2)
    )
    def test_is_the_product_in_keras_order(self, flip, degrees, shift_y, shift_x, zoom_y, zoom_x):
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        center = np.array([[1, 0, (SIZE[1] - 1) / 2], [0, 1, (SIZE[0] - 1) / 2], [0, 0, 1]])
        mirror = np.diag([-1.0 if flip else 1.0, 1, 1])
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        shift = np.array([[1, 0, shift_x], [0, 1, shift_y], [0, 0, 1]])
        zoom = np.diag([zoom_x, zoom_y, 1])
        expected = center @ mirror @ rotation @ shift @ zoom @ np.linalg.inv(center)
        ours = one_matrix(flip=flip, degrees=degrees, shift_y=shift_y, shift_x=shift_x, zoom_y=zoom_y, zoom_x=zoom_x)
        np.testing.assert_allclose(ours[0], expected[:2], atol=1e-4)


class TestGeometryOfABatch:
    """The ramps image[y, x] = (x, y, 0) come back as the coordinates that were sampled."""

    n, side = 256, 48

    def sampled(self, **changes):
        y, x = np.mgrid[: self.side, : self.side]
        ramps = np.stack([x, y, 0 * x], -1).astype(np.uint8)
        images, _ = run(config(**changes), np.broadcast_to(ramps, (self.n, *ramps.shape)))
        middle = images[:, 22:26, 22:26, :2]  # far from the clamped edges
        return middle.mean(axis=(1, 2)), (middle[:, :, 3] - middle[:, :, 0]).mean(1) / 3

    @staticmethod
    def assert_uniform(values, limit):
        """Within +-limit, and spread like a uniform distribution (whose standard deviation is limit / sqrt 3)."""
        assert np.abs(values).max() <= limit * 1.001
        assert np.std(values) == pytest.approx(limit / np.sqrt(3), rel=0.15)

    def test_shift_is_uniform_on_each_axis(self):
        centers, _ = self.sampled(shift=0.1)
        for center in centers.T:
            self.assert_uniform(center - 23.5, 4.8)
        assert abs(np.corrcoef(centers.T)[0, 1]) < 0.2

    def test_rotation_is_uniform_in_degrees(self):
        _, along_x = self.sampled(rotation=20.0)
        self.assert_uniform(np.rad2deg(np.arctan2(along_x[:, 1], along_x[:, 0])), 20)

    def test_zoom_is_uniform_about_one(self):
        _, along_x = self.sampled(zoom=0.2)
        self.assert_uniform(along_x[:, 0] - 1, 0.2)

    def test_flip_has_its_probability(self):
        _, along_x = self.sampled(flip=0.25)
        assert set(np.round(along_x[:, 0], 4)) == {-1, 1}
        assert np.mean(along_x[:, 0] < 0) == pytest.approx(0.25, abs=0.08)


def test_adjust_changes_contrast_about_the_mean_then_brightness():
    images = RANDOM_IMAGES.astype(np.float32)
    brightness, contrast = np.linspace(-80, 80, 8, dtype=np.float32), np.linspace(0.5, 1.5, 8, dtype=np.float32)
    expected = [
        np.clip((image - image.mean()) * c + image.mean() + b, 0, 255)
        for image, b, c in zip(images.astype(np.float64), brightness, contrast, strict=True)
    ]
    np.testing.assert_allclose(augmentation.adjust(images, brightness, contrast), expected, atol=1e-3)


@pytest.mark.parametrize(("changes", "limits"), [({"brightness": 0.2}, (49, 151)), ({"contrast": 0.4}, (100, 100))])
def test_brightness_and_contrast_stay_in_their_ranges(changes, limits):
    half = np.full((200, 4, 4, 1), 90, np.uint8)
    half[:, :, 2:] = 110
    images, _ = run(config(**changes), half)
    means = images.mean(axis=(1, 2, 3))
    assert limits[0] - 1e-3 <= means.min() <= means.max() <= limits[1] + 1e-3
    spread = images.max(axis=(1, 2, 3)) - images.min(axis=(1, 2, 3))
    limit = changes.get("contrast", 0)
    assert 20 * (1 - limit) - 1e-3 <= spread.min() <= spread.max() <= 20 * (1 + limit) + 1e-3
    assert (np.std(means) if "brightness" in changes else np.std(spread)) > 1


class TestErasing:
    @few
    @given(st.tuples(*[st.floats(0, 1, exclude_max=True, width=32)] * 4), st.sampled_from([SIZE, (48, 48), (40, 24)]))
    def test_boxes_lie_inside_and_have_their_area_and_shape(self, uniform, size):
        names = ("erase_area", "erase_aspect", "erase_y", "erase_x")
        draws = draws_of(1, **{name: [value] for name, value in zip(names, uniform, strict=True)})
        top, left, height, width = map(int, erase_boxes(size, draws)[0])
        assert top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
        area = size[0] * size[1] * (0.02 + 0.31 * uniform[0])
        assert abs(height * width - area) <= (height + width) / 2 + 0.3  # each side is rounded to a pixel
        assert 0.3 * (width - 0.5) - 0.5 <= height <= 3.3 * (width + 0.5) + 0.5

    def test_masks_are_the_boxes(self):
        boxes = np.array([[0, 0, 3, 5], [4, 6, 8, 10], [-2, 10, 4, 20], [3, 3, 0, 4]])
        masks = augmentation.box_masks(jnp.asarray(boxes), SIZE)
        for (top, left, height, width), mask in zip(boxes, masks, strict=True):
            expected = np.zeros((*SIZE, 1), bool)
            expected[max(top, 0) : top + height, max(left, 0) : left + width] = True
            np.testing.assert_array_equal(mask, expected)

    def test_a_share_of_the_images_loses_one_rectangle(self):
        images = np.broadcast_to(RANDOM_IMAGES[0], (200, *RANDOM_IMAGES.shape[1:]))
        out, _ = run(config(erase=0.4), images)
        changed = (out != images).any(-1)
        erased = changed.any(axis=(1, 2))
        assert erased.mean() == pytest.approx(0.4, abs=0.1)
        for mask in changed[erased]:
            rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.9

    def test_noise_fills_with_whole_gray_levels_of_the_full_range(self):
        out, _ = run(config(erase=1.0), np.full((200, 16, 16, 1), 128, np.uint8))
        filled = out[out != 128]
        assert filled.min() < 5 and filled.max() > 250 and filled.mean() == pytest.approx(127.5, abs=4)
        np.testing.assert_array_equal(filled, np.round(filled))


class TestMixing:
    def test_mix_takes_the_neighbors_share(self):
        images = RANDOM_IMAGES.astype(np.float32)
        share = np.random.default_rng(2).random((8, 1, 1, 1), dtype=np.float32)
        mixed, targets = augmentation.mix(images, TARGETS, share)
        partner = np.array([1, 0, 3, 2, 5, 4, 7, 6])
        np.testing.assert_allclose(mixed, (1 - share) * images + share * images[partner], atol=1e-3)
        of_targets = share[:, 0, 0]
        np.testing.assert_allclose(targets, (1 - of_targets) * TARGETS + of_targets * TARGETS[partner], atol=1e-6)

    def test_targets_are_mixed_as_the_pixels_are(self):
        n = 300
        white = np.arange(n) % 2
        images = np.broadcast_to((255 * white).astype(np.uint8)[:, None, None, None], (n, *SIZE, 1))
        mixed, targets = run(config(mixup=0.4), images, np.eye(2, dtype=np.float32)[white])
        np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)) / 255, targets[:, 1], atol=1e-5)
        np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
        assert all(len(np.unique(image)) == 1 for image in mixed)
        assert np.var(targets[:, 1]) == pytest.approx(1 / 7.2, rel=0.15)  # of Beta(a, a): 1 / (4 (2 a + 1))

    def test_an_odd_batch_is_refused(self):
        with pytest.raises(ValueError, match="must be even, got 7"):
            run(config(mixup=0.2), RANDOM_IMAGES[:7])


EVERYTHING = {"flip": 0.5, "rotation": 10.0, "shift": 0.1, "zoom": 0.1}
EVERYTHING |= {"brightness": 0.2, "contrast": 0.2, "erase": 0.5, "mixup": 0.2}


class TestTheWhole:
    def test_everything_off_changes_nothing_and_draws_nothing(self):
        images, targets = run(config(), RANDOM_IMAGES, TARGETS)
        np.testing.assert_array_equal(images, RANDOM_IMAGES)
        np.testing.assert_array_equal(targets, TARGETS)
        assert images.dtype == targets.dtype == np.float32
        traced = jax.make_jaxpr(lambda *args: augmentation.augment(config(flip=0.5), *args))
        flip_alone = str(traced(RANDOM_IMAGES, TARGETS, keys(8)))
        assert "gather" not in flip_alone and "while" not in flip_alone

    def test_an_example_depends_on_its_key_and_neighbor_alone(self):
        def apply(*args):
            return augmentation.augment(config(**EVERYTHING), *args)

        together = jax.jit(apply)
        images, targets = together(RANDOM_IMAGES, TARGETS, keys(8))
        swapped = np.array([6, 7, 2, 3, 4, 5, 0, 1])
        moved_images, moved_targets = together(RANDOM_IMAGES[swapped], TARGETS[swapped], keys(8)[swapped])
        np.testing.assert_allclose(moved_images, images[swapped], atol=1e-2)
        np.testing.assert_allclose(moved_targets, targets[swapped], atol=1e-6)

        def halves(value):
            return value.reshape(2, 4, *value.shape[1:])

        of_halves = jax.jit(jax.vmap(apply))(halves(RANDOM_IMAGES), halves(TARGETS), halves(keys(8)))
        np.testing.assert_allclose(of_halves[0], halves(images), atol=1e-2)
        np.testing.assert_allclose(of_halves[1], halves(targets), atol=1e-6)

        other_images, _ = together(RANDOM_IMAGES, TARGETS, keys(8, seed=1))
        assert np.abs(other_images - images).mean(axis=(1, 2, 3)).min() > 1

    def test_stays_float32_when_float64_is_allowed(self):
        with jax.enable_x64(True):
            given = jnp.asarray(RANDOM_IMAGES), jnp.asarray(TARGETS), keys(8)
            images, targets = jax.eval_shape(lambda *args: augmentation.augment(config(**EVERYTHING), *args), *given)
        assert images.dtype == targets.dtype == jnp.float32
        assert images.shape == RANDOM_IMAGES.shape


def test_a_random_crop_has_every_place_once_and_nothing_else():
    image = RANDOM_IMAGES[0]
    windows = {image[y : y + 10, x : x + 10].tobytes(): (y, x) for y in range(3) for x in range(7)}
    many = np.broadcast_to(image, (400, *image.shape))
    crops = jax.jit(augmentation.random_crop, static_argnums=1)(many, 10, keys(400))
    assert {windows[np.asarray(crop).tobytes()] for crop in crops} == set(windows.values())


class Remembers(nn.Module):
    """A network that keeps its last input."""

    @nn.compact
    def __call__(self, x, train):
        seen = self.variable("batch_stats", "seen", jnp.zeros_like, x)
        seen.value = x
        return nn.Dense(3)(x.mean(axis=(1, 2)))


def test_images_without_warp_are_the_pixels_themselves():
    conf = config(flip=0.5, rotation=30.0, shift=0.2, zoom=0.3)
    sharp, _ = jax.jit(lambda *args: augmentation.augment(conf, *args))(RANDOM_IMAGES, TARGETS, keys(8), True)
    for image, original in zip(np.asarray(sharp), RANDOM_IMAGES, strict=True):
        assert any((image == original[:, ::step]).all() for step in (1, -1))
    blurred, _ = run(conf, RANDOM_IMAGES)
    assert (blurred != np.round(blurred)).any()


def test_bicubic_keeps_more_of_what_is_fine_within_the_range_of_pixels():
    moves = {"shift": 0.2, "rotation": 10.0}
    bilinear, bicubic = (run(config(**moves, interpolation=name), RANDOM_IMAGES)[0] for name in ("bilinear", "bicubic"))
    assert bilinear.std() < bicubic.std() < RANDOM_IMAGES.std()
    assert bicubic.min() >= 0 and bicubic.max() <= 255


def test_training_inputs_are_what_the_step_gives_the_network():
    conf = default.get_config()
    conf.batch_size, conf.seed, conf.input.crop = 8, 5, 8
    conf.augment.update(rotation=9.0, mixup=0.4, no_warp_fraction=0.5)
    images = RANDOM_IMAGES[:, :, :12]
    examples = Examples(images, np.arange(8, dtype=np.int32) % 3, np.full(8, "Training"), ("a", "b", "c"))
    model, optimizer = Remembers(), optax.sgd(0.1)
    state = from_variables(model.init(jax.random.key(0), jnp.zeros((8, 8, 8, 3)), False), optimizer, ema=False)
    setup = Setup(conf, model, model, {}, optax.constant_schedule(0.1), optimizer, warp_off_step=1)
    program = TrainProgram(setup, examples, 1, devices=jax.devices()[:1])
    program.load(state)
    seen = []
    for feed in program.feeds(0, 2):
        program.run(feed)
        seen.append(np.array(program.state.batch_stats["seen"]))
    inputs_of = jax.jit(lambda *args: augmentation.training_inputs(conf, *args))
    # the steps keep 1/10 and 2/11 of what the network remembers, at first nothing; the second does not warp
    for step, before, kept in ((0, 0, 1 / 10), (1, seen[0], 2 / 11)):
        rows = sampler.Order(conf.seed, np.zeros(8)).indices(step, 1, 8)[0]
        inputs, _ = inputs_of(images[rows], examples.targets()[rows], step, np.arange(8), step == 1)
        np.testing.assert_allclose(before + (seen[step] - before) / (1 - kept), inputs, atol=1e-5)


def test_faults_of_cameras_leave_the_other_draws_of_a_seed_alone():
    without, rare = (run(config(flip=0.5, rotation=20.0, camera=share), RANDOM_IMAGES)[0] for share in (0.0, 1e-9))
    np.testing.assert_allclose(rare, without, atol=1e-3)
