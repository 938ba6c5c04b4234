import os
import signal

from bodycomp_jax.training import stop_signals
from bodycomp_jax.training.stop_signals import StopSignals


def test_a_signal_that_a_launcher_passes_on_once_more_counts_once(monkeypatch):
    waited = []

    def send_again(seconds):
        waited.append(seconds)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(stop_signals.time, 'sleep', send_again)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.stop_signal == signal.SIGINT
        assert waited == [stop_signals.SETTLING_TIME]
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # the next one ends the process
