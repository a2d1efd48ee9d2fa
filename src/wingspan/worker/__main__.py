"""The start of the zipapp. It is so plain that even an old Python gets as far as the message."""

import sys

if sys.version_info < (3, 6):
    sys.stderr.write("wingspan worker: Python 3.6 or newer is needed, this is %s\n" % sys.version.split()[0])
    sys.exit(78)

if __name__ == "__main__":
    from wingspan_worker.entry import main

    sys.exit(main(sys.argv[1:]))
