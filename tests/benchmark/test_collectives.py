"""What a step sends between devices, counted by hand."""

from bodycomp_jax.benchmark.collectives import collectives


def test_a_step_sends_no_more_than_it_must(case, training):
    """808 weights, 3 x 3 + 2 loss sums, 3 batch norms of 4 + 8 + 4 channels; 4 stop flags."""
    rows = collectives(case, training)
    counted = {row['what']: (row['collectives'], row['bytes']) for row in rows}
    assert counted['least: gradients'] == (1, 4 * 808)
    assert counted['least: loss sums'] == (1, 4 * 11)
    assert counted['least: batch statistics'] == (6, 2 * 2 * 4 * 16)
    least = (8, 4 * (808 + 11 + 64))
    assert counted['least'] == least
    flags = 4 * 4
    assert counted['the compiled step'] == (8, least[1] + flags)
    assert 4 * 808 <= counted['its largest collective'][1] <= 4 * (808 + 11 + 4)
