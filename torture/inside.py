"""What a command of the chamber begins with, in its own process: faults are armed, a plant is put in.

python -c "import torture.inside; torture.inside.main()" nas.search ...
"""

import ctypes
import os
import runpy
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from torture import faults, rooms


def main() -> None:
    """Runs the module that is named first with what comes behind it, as `python -m` does."""
    name, *arguments = sys.argv[1:]
    # A chamber that was started in the background, or by nohup, ignores them; what it tries must not.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    with ExitStack() as held:
        if rooms.PLANT in os.environ:
            room, _, plant = os.environ[rooms.PLANT].partition(":")
            place = Path(os.environ[rooms.KEPT])
            held.enter_context(rooms.room_of(room, place).plants[plant].plant())
        if faults.FOLDER in os.environ:
            # A fork was loaded with the library before these variables were there.
            arm = ctypes.CDLL(None).faults_arm
            if arm() != 0:
                raise SystemExit("the writes of this command cannot be counted")
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)
