"""Where and how a run computes."""

import dataclasses
import math
import re

from bodycomp_jax.config.options import check, check_choices, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where a run reads, writes and computes.

    Apart from --allow_data_change it changes the result by rounding at most.
    """

    data_dir: str | None = option(
        None,
        'folder of the training data; also the first of two positional arguments; not needed with '
        '--synthetic',
        group='Input and output',
        positional=True,
        path=True,
    )
    model_output_dir: str = option(
        None,
        'folder for the folder of the run; also the last positional argument',
        group='Input and output',
        positional=True,
        path=True,
    )
    name: str | None = option(
        None,
        'name of the run and of its folder; an existing run continues '
        '(default: untitled_model_<time>)',
        group='Input and output',
        short='a',
    )
    allow_data_change: bool = option(
        False,
        'continue a run on training or validation data other than it was started on',
        group='Input and output',
    )
    check_values: bool = option(
        True,
        'refuse data with values that cannot be right, such as images in other units or images '
        'that are in both splits, and warn of improbable ones',
        group='Input and output',
    )
    num_gpus: int | None = option(
        None,
        'number of devices per process to train on; counts TPU cores and CPU devices as well '
        '(default: all)',
        group='Devices',
        short='g',
    )
    data_cache: str = option(
        'auto',
        'device: keep the training and validation sets in the memory of each device; host: stream '
        'them from disk; auto: device on GPU and TPU if the sets need less than half of the free '
        'memory. The results are identical',
        group='Devices',
        choices=('auto', 'device', 'host'),
    )
    stall_timeout: float = option(
        600.0,
        'warn if no step finishes for this many seconds, not counting compilation',
        group='Devices',
    )
    coordinator_address: str | None = option(
        None,
        'HOST:PORT on which process 0 listens; only needed without srun, mpirun or Cloud TPU',
        group='Several processes',
    )
    num_processes: int | None = option(
        None,
        'number of processes of the job; required with --coordinator_address',
        group='Several processes',
    )
    process_id: int | None = option(
        None,
        'index of this process, starting at 0; required with --coordinator_address',
        group='Several processes',
    )
    heartbeat_timeout: int = option(
        100,
        'end the job if a process is silent for this many seconds',
        group='Several processes',
    )

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ('stall_timeout', 'heartbeat_timeout'):
            seconds = getattr(self, name)
            check(seconds > 0, name, seconds, 'use a positive number of seconds')
        count, index, address = self.num_processes, self.process_id, self.coordinator_address
        check(count is None or count > 0, 'num_processes', count, 'use a positive number')
        in_range = index is None or 0 <= index < (count or math.inf)
        check(in_range, 'process_id', index, 'use 0 to --num_processes minus 1')
        named = address is None or re.fullmatch(r'.+:\d+', address)
        check(named, 'coordinator_address', address, 'use HOST:PORT, such as node1:12345')
