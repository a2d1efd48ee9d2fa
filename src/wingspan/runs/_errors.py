"""What can be wrong with a run. The tree::

RunError (WingspanError)
├── InvalidRun (ValueError)             what was asked for contradicts itself
│   ├── InvalidName                     a name that is not one
│   ├── InvalidSweep                    a sweep that nobody uses, or that cannot be read
│   └── InvalidTask                     a task that Wingspan cannot execute as it stands
│       └── TaskCycle                   tasks that wait for each other
├── RunExists (FileExistsError)         the name is taken
├── RunNotFound (KeyError)              no run has that name
├── RunDamaged                          a file of the run is missing or cut
├── InputMissing (FileNotFoundError)    an input is not there, or not inside the folder
├── InputTooLarge                       the site wants files of that size to come another way
├── CommandNotFound (LookupError)       the environment has no such command
├── NoSuchMachine                       no machine of the pool has what is asked for
├── OutputMissing (FileNotFoundError)   the command ended well and did not write what was declared
├── WouldOverwrite (FileExistsError)    `Run.fetch` would replace a file that differs
├── RunFailed                           a job ended with an error
└── RunTimeout (TimeoutError)           waited for, and not there in time
"""

from __future__ import annotations

from wingspan.errors import WingspanError

__all__ = [
    "CommandNotFound",
    "InputMissing",
    "InputTooLarge",
    "InvalidName",
    "InvalidRun",
    "InvalidSweep",
    "InvalidTask",
    "NoSuchMachine",
    "OutputMissing",
    "RunDamaged",
    "RunError",
    "RunExists",
    "RunFailed",
    "RunNotFound",
    "RunTimeout",
    "RunWarning",
    "TaskCycle",
    "WouldOverwrite",
]


class RunWarning(UserWarning):
    """Something that a person who makes a run should know; the run is made all the same."""


class RunError(WingspanError):
    """The root of what can be wrong with a run."""


class InvalidRun(RunError, ValueError):
    """What was asked for contradicts itself, or cannot be read."""

    exit_code = 2


class InvalidName(InvalidRun):
    """A name that no run can have."""


class InvalidSweep(InvalidRun):
    """A sweep that the command does not use, or that cannot be read."""


class InvalidTask(InvalidRun):
    """A task that cannot be executed as it stands."""


class TaskCycle(InvalidTask):
    """Tasks that wait for each other."""


class RunExists(RunError, FileExistsError):
    """The name is in use."""


class RunNotFound(RunError, KeyError):
    """No run has that name."""


class RunDamaged(RunError):
    """A file of the run is missing or cut."""


class InputMissing(RunError, FileNotFoundError):
    """A declared input is not there."""


class InputTooLarge(RunError):
    """The site wants files of that size to come another way than through its access point."""


class CommandNotFound(RunError, LookupError):
    """The first word of the command is no program of the environment, nor a file that is sent."""


class NoSuchMachine(RunError):
    """No machine of the pool has what is asked for: the job would wait for ever."""


class OutputMissing(RunError, FileNotFoundError):
    """The command ended well, and a declared output was not written."""


class WouldOverwrite(RunError, FileExistsError):
    """A file with another content is in the way."""


class RunFailed(RunError):
    """A job of the run ended with an error, was removed, or is held."""


class RunTimeout(RunError, TimeoutError):
    """The run did not end in time; it goes on."""
