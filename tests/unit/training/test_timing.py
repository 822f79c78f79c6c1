"""The phase timer, on an injected clock."""

from fer_jax.training.timing import PHASES, PhaseTimer


def test_every_second_is_counted_in_one_phase():
    times = iter([0.0, 2.0, 5.0, 6.0, 10.0])
    watch = PhaseTimer(clock=lambda: next(times))
    watch.enter("train")
    watch.enter("eval")
    watch.enter("train")
    assert watch.read() == dict.fromkeys(PHASES, 0.0) | {"startup": 2.0, "train": 7.0, "eval": 1.0}
