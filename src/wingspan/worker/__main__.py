"""The start of the zipapp. It is so plain that even an old Python gets as far as the message."""

import sys

if sys.version_info < (3, 6):
    sys.stderr.write("wingspan worker: Python 3.6 or newer is needed, this is %s\n" % sys.version.split()[0])
    sys.exit(78)

if __name__ == "__main__":
    import gc

    gc.disable()  # until the user's code comes: of what is imported until then nothing is garbage
    from wingspan_worker import together

    together.install()
    from wingspan_worker.entry import main

    code = main(sys.argv[1:])
    import atexit
    import os

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # the worker was started without it
                stream.flush()
        except OSError:
            pass  # what it says has nowhere to go; the exit code still counts
    os._exit(code)  # to take down all modules takes as long as a short component
