import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bodycomp_jax import ct
from bodycomp_jax.training.tasks import losses


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5, 4)).astype(np.float32)
    mask = rng.integers(0, 4, (3, 4, 5)).astype(np.uint8)
    return logits, mask


def sums_of(logits, mask):
    return jax.jit(losses.segmentation_sums)(logits, mask)


def test_dice_is_the_formula_of_the_paper(case):
    logits, mask = case
    p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1, keepdims=True)
    expected = 0.0
    for label in (1, 2, 3):
        t = mask == label
        expected -= (2 * (p[..., label] * t).sum() + 1) / (p[..., label].sum() + t.sum() + 1)
    assert losses.dice_loss(sums_of(*case)) == pytest.approx(expected, rel=1e-6)


def test_dice_ce_adds_the_mean_cross_entropy(case):
    logits, mask = case
    log_p = np.asarray(jax.nn.log_softmax(logits))
    mean_ce = -np.take_along_axis(log_p, mask[..., None].astype(int), -1).mean()
    sums = sums_of(*case)
    assert losses.dice_ce_loss(sums) - losses.dice_loss(sums) == pytest.approx(mean_ce, rel=1e-5)


def test_a_perfect_prediction_costs_minus_one_a_tissue(case):
    _, mask = case
    logits = 100.0 * np.eye(4, dtype=np.float32)[mask]
    assert losses.dice_loss(sums_of(logits, mask)) == pytest.approx(-3, abs=1e-6)
    assert losses.dice_ce_loss(sums_of(logits, mask)) == pytest.approx(-3, abs=1e-6)


def test_sums_of_batches_add_up_to_the_sums_of_all(case):
    logits, mask = case
    parts = jax.tree.map(np.add, sums_of(logits[:1], mask[:1]), sums_of(logits[1:], mask[1:]))
    whole = sums_of(logits, mask)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), parts, whole)


def test_a_tissue_that_does_not_occur_has_a_finite_loss_and_gradient():
    mask = np.zeros((1, 4, 4), np.uint8)
    logits = jnp.zeros((1, 4, 4, 4)).at[..., 0].set(200.0)

    @jax.jit
    @jax.value_and_grad
    def loss_and_gradient(logits):
        return losses.dice_ce_loss(losses.segmentation_sums(logits, mask))

    value, gradient = loss_and_gradient(logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_the_losses_of_offsets_by_hand():
    sums = losses.offset_sums(jnp.array([[0.0, 2.0]]), jnp.array([[0.0, 10.0]]), 10.0)
    true, found = 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-2))
    assert losses.mean_absolute_error(sums) == pytest.approx((found - true) / 2, rel=1e-5)
    divergence = true * np.log(true / found) + (1 - true) * np.log((1 - true) / (1 - found))
    assert losses.mean_divergence(sums) == pytest.approx(divergence / 2, rel=1e-5)


def test_the_divergence_pulls_a_network_that_is_sure_and_wrong():
    def slope(loss):
        of_logit = jax.grad(lambda x: loss(losses.offset_sums(x, jnp.array([[-200.0]]), 10.0)))
        return float(of_logit(jnp.array([[30.0]]))[0, 0])

    assert slope(losses.mean_divergence) == pytest.approx(1)
    assert slope(losses.mean_absolute_error) == pytest.approx(0, abs=1e-6)


def loss_and_gradient(loss, logits, mask):
    value, gradient = jax.value_and_grad(lambda x: loss(sums_of(x, mask)))(jnp.asarray(logits))
    return float(value), np.asarray(gradient)


@pytest.mark.parametrize('loss', [losses.dice_loss, losses.dice_ce_loss])
def test_pixels_that_are_not_labelled_do_not_exist_for_the_loss(case, loss):
    logits, mask = case
    cut_value, cut_gradient = loss_and_gradient(loss, logits[:, :, 2:], mask[:, :, 2:])
    mask[:, :, :2] = ct.NOT_LABELLED
    value, gradient = loss_and_gradient(loss, logits, mask)
    assert value == pytest.approx(cut_value, rel=1e-6)
    np.testing.assert_allclose(gradient[:, :, 2:], cut_gradient, rtol=1e-5)
    assert not gradient[:, :, :2].any()
    logits[:, :, :2] += 5
    assert loss_and_gradient(loss, logits, mask)[0] == value


def test_a_batch_without_a_labelled_pixel_changes_nothing(case):
    logits, mask = case
    value, gradient = loss_and_gradient(losses.dice_ce_loss, logits, mask * 0 + ct.NOT_LABELLED)
    assert np.isfinite(value)
    assert not gradient.any()
