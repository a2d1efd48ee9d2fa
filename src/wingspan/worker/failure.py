"""Turning an exception into plain data that any Python can read, even where the exception itself cannot be rebuilt."""

import pickle

_LIMIT = 4000


def _text(make, value):
    try:
        text = make(value)
    except BaseException as error:
        return "<%s() raised %s>" % (make.__name__, type(error).__name__)
    return text if len(text) <= _LIMIT else text[: _LIMIT - 1] + "…"


def _frames(traceback, skip):
    import linecache

    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename not in skip:
            line = linecache.getline(
                code.co_filename, traceback.tb_lineno, traceback.tb_frame.f_globals
            ).strip()
            frames.append((code.co_filename, traceback.tb_lineno, code.co_name, line or None))
        traceback = traceback.tb_next
    return frames[-100:]


def describe(error, stage, dumps, skip=(), given=None, has_input=False):
    """Describe `error` as a dict of plain values.

    Args:
        error: The exception.
        stage: ``"function"`` (it could not be loaded), ``"input"``, ``"call"`` or ``"output"`` (it could not be pickled).
        dumps: Pickles, raising for what cannot be pickled.
        skip: File names whose frames are ours and not the user's.
        given: The input that caused it, when `has_input`.
    """
    chain, seen, link = [], set(), None
    current = error
    while current is not None and id(current) not in seen and len(chain) < 10:
        seen.add(id(current))
        chain.append(
            {
                "type": type(current).__qualname__,
                "module": type(current).__module__,
                "message": _text(str, current),
                "notes": [_text(str, note) for note in getattr(current, "__notes__", ())],
                "frames": _frames(current.__traceback__, skip),
                "link": link,
            }
        )
        if current.__cause__ is not None:
            current, link = current.__cause__, "cause"
        elif current.__context__ is not None and not current.__suppress_context__:
            current, link = current.__context__, "context"
        else:
            break
    pickled, reason = None, None
    try:
        pickled = dumps(error)
        pickle.loads(pickled)
    except BaseException as failure:
        pickled, reason = None, "%s: %s" % (type(failure).__name__, _text(str, failure))
    return {
        "stage": stage,
        "chain": chain,
        "exception": pickled,
        "not_picklable": reason,
        "input": _text(repr, given) if has_input else None,
    }


def crash(stage, message, **facts):
    """The same shape for a failure that is no Python exception: a signal, an exit, a lost worker."""
    fields = {
        "stage": stage,
        "chain": [],
        "exception": None,
        "not_picklable": None,
        "input": None,
        "message": message,
    }
    fields.update(facts)
    return fields


def dumps(fields):
    """What goes into the record: a pickle of plain types only."""
    return pickle.dumps(fields, 4)


def loads(data):
    """Read back what `dumps` wrote."""
    return pickle.loads(data)
