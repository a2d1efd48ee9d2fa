"""The options of a map. They are checked when they are written down, and not only when a job is held."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import attrs

from wingspan._foreign import hint_for_option
from wingspan.errors import SettingsError, UnknownOption
from wingspan.jobs import ClassAdValue, Size, all_of, parse_duration, parse_size
from wingspan.maps._entries import RESERVED, merged_entries, read_entries
from wingspan.maps._file_options import copied, joined_remaps, paths, per_component, remaps
from wingspan.maps._requests import is_for_each, most_of, parse_request, positive, values_of
from wingspan.settings import Settings, origins

if TYPE_CHECKING:
    from wingspan.maps._facts import OptionsFacts

__all__ = ["Options", "default_options", "option_names"]

_Value = TypeVar("_Value")
#: One value for each component, or a function that says it of the input.
EachOf: TypeAlias = Sequence[_Value] | Callable[..., _Value]
#: What a worker asks for by default.
_USUAL = {"request_cpus": 1, "request_gpus": 0}


@attrs.frozen(init=False)
class Options:
    """What each worker of a map gets, and how the map is done.

    Options never change. `merged` joins several to new ones. A map gets the default options of the settings,
    joined with those of a `wingspan.mapped` function and those of the call.

    `request_cpus`, `request_memory`, `request_disk`, `request_gpus`, `time` and `requirements` may be a list
    with a value for each component, or a function that is called with each input. Components that ask for
    the same share workers. So may each entry of `custom`, `submit` and `sbatch`; there None means that the
    component does not have it.

    Args:
        request_cpus: Cores of each worker.
        request_memory: Memory of each worker: ``"2GB"``; a plain number is MB.
        request_disk: Scratch disk of each worker: ``"10GB"``; a plain number is MB.
        request_gpus: GPU devices of each worker.
        time: Longest wall time of each worker: ``"2h"``, or seconds. On Slurm it is ``--time``; another
            worker replaces one whose time is over, and what that one had finished counts. On HTCondor the
            site's profile says what it means.
        workers: How many workers. None: as many as this machine's cores, or up to 1,000 on a site's pool, and
            never more than components. 0: none are submitted, now or later; you submit them yourself with
            what ``wingspan render --from TAG`` writes.
        block_size: Components that a worker claims at once. None: so that each worker finds about 32 blocks;
            with 625 workers or more, 10 that get smaller.
        retries: How often a component that fails is tried again, on whichever worker comes next.
        retry_memory: The most memory that is asked for, ``"16GB"``, when a component or a job took more than
            it had asked for: it is done again with twice as much, and again. None: it fails.
        retry_disk: The same for disk.
        pilot: So many components are done first; what these take decides what the others ask for.
        max_idle: At most so many workers wait in HTCondor's queue at a time.
        requirements: A ClassAd expression that machines must fulfil, joined to what Wingspan requires.
        environment: Locked Pixi environment that the map runs in: its name in the workspace of this folder,
            or a `wingspan.Environment`. None: the interpreter of this session, which the workers must have.
        profile: Site profile, ``"chtc"``; None: that of the machine, where the site's pool is used.
        chirp: Whether jobs reach this machine by HTCondor's chirp while they run. False: each worker gets its
            components beforehand, and brings back what it has done. None: as the profile says, and as it
            turns out.
        switches: Names of what the profile lets one turn on, ``["want_ospool"]``.
        custom: Job attributes, ``{"WantGPULab": True, "GPUJobLength": "short"}``: a leading ``+`` or ``MY.``
            may be left out, strings are quoted for you. For HTCondor only.
        input_files: Files, folders and URLs (``osdf://``, ``https://``, ``file://``) that every component has
            in its working folder, under their own names. They are copied when the map is made.
        component_input_files: For each component None, such a path or URL, or a list of them: found in the
            working folder, too. They are copied when the component begins, and must not change before.
        output_remaps: Where files go that components send, by their names, instead of into the map's folder:
            ``{"out.csv": "osdf:///ospool/me/out-{component}.csv"}``, or a path on this machine. For each
            component such a table of its own: a list of them.
        store: Where inputs, outputs and a function that are large lie instead of in the map's folder: a store
            of ``config.toml``, a folder that the workers see, or a URL. They are fetched when they are read.
        store_above: How large: ``"64MB"``; a plain number is MB.
        own_folder: Each component runs in a folder of its own, which is removed when it is done. It is so in
            any case where the map has files, or its function calls ``transfer_output_files``.
        component_timeout: Longest wall time of a component: ``"10min"``, seconds, or a `datetime.timedelta`.
            One that takes longer is ended, with the processes it has started, and fails with
            `ComponentTimeout`.
        seed: Seed of the map, a whole number: the seeds of its components follow from it
            (`wingspan.component`). None: one that the system draws; `Map.seed` tells which.
        submit: Further submit commands of HTCondor, taken as they stand: ``{"accounting_group": "physics"}``.
        sbatch: Further options of Slurm's sbatch, by their long names: ``{"account": "physics"}``; True for
            one that has no value. They come before those of the site's profile.
        notification: When HTCondor or Slurm mails you about workers: ``"never"``, ``"complete"``, ``"error"``
            or ``"always"``. HTCondor mails for each worker's job, Slurm for each submission.
        notify_user: Whom they mail, ``"me@example.org"``; None: you, in the way of the site.
        memo: Take outputs that are there already, of an earlier map with the same function, input and
            environment, and compute only what is missing; see ``docs/memo.md``.
        on_done: A shell command that is called on this machine when the map is complete, once, by whoever
            notices: a program that waits for it or looks at it, ``wingspan wait``. It gets ``WINGSPAN_TAG``,
            ``WINGSPAN_STATE`` (``completed`` or ``failed``), ``WINGSPAN_COMPONENTS`` and ``WINGSPAN_FAILED``.

    Raises:
        SettingsError: A value cannot be used.
        UnknownOption: There is no such option, or Wingspan sets it itself.

    >>> Options(request_memory="2GB").request_memory
    2147483648
    """

    request_cpus: int
    request_memory: int | None
    request_disk: int | None
    request_gpus: int
    time: int | None
    workers: int | None
    block_size: int | None
    retries: int
    retry_memory: int | None
    retry_disk: int | None
    pilot: int | None
    max_idle: int | None
    requirements: str | None
    environment: Any
    profile: str | None
    chirp: bool | None
    switches: tuple[str, ...]
    custom: Mapping[str, ClassAdValue]
    submit: Mapping[str, str]
    sbatch: Mapping[str, str | bool]
    on_done: str | None
    memo: bool
    notification: str
    notify_user: str | None
    input_files: tuple[str, ...]
    component_input_files: tuple[Any, ...] | None
    output_remaps: Any
    store: str | None
    store_above: int
    own_folder: bool
    seed: int | None
    component_timeout: float | None
    #: Names of the options that somebody has set, be it to their default.
    given: frozenset[str] = attrs.field(init=False, eq=False, repr=False)
    #: Options that say something else for each component, with a list of their values, or the function.
    each: Mapping[str, tuple[Any, ...] | Callable[..., Any]] = attrs.field(init=False, hash=False, repr=False)

    def __new__(cls, **options: Any) -> Options:
        """Remember which options are set: the others give way to other layers."""
        self = super().__new__(cls)
        object.__setattr__(self, "given", frozenset(options))
        object.__setattr__(self, "each", {})
        return self

    def __init__(
        self,
        *,
        request_cpus: int | EachOf[int] = 1,
        request_memory: int | str | EachOf[int | str | None] | None = None,
        request_disk: int | str | EachOf[int | str | None] | None = None,
        request_gpus: int | EachOf[int] = 0,
        time: int | str | EachOf[int | str | None] | None = None,
        workers: int | None = None,
        block_size: int | None = None,
        retries: int = 0,
        retry_memory: int | str | None = None,
        retry_disk: int | str | None = None,
        pilot: int | None = None,
        max_idle: int | None = None,
        requirements: str | EachOf[str | None] | None = None,
        environment: Any = None,
        profile: str | None = None,
        chirp: bool | None = None,
        switches: Iterable[str] = (),
        custom: Mapping[str, ClassAdValue | EachOf[ClassAdValue | None]] | None = None,
        submit: Mapping[str, Any] | None = None,
        sbatch: Mapping[str, Any] | None = None,
        on_done: str | None = None,
        memo: bool = False,
        notification: str = "never",
        notify_user: str | None = None,
        input_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        component_input_files: Iterable[Any] | None = None,
        output_remaps: Mapping[str, Any] | Iterable[Mapping[str, Any]] | None = None,
        store: str | os.PathLike[str] | None = None,
        store_above: int | str = "64MB",
        own_folder: bool = False,
        seed: int | None = None,
        component_timeout: float | str | datetime.timedelta | None = None,
        **unknown: object,
    ) -> None:
        for name in unknown:
            raise _unknown(name)
        asked: dict[str, Any] = {
            "request_cpus": request_cpus,
            "request_memory": request_memory,
            "request_disk": request_disk,
            "request_gpus": request_gpus,
            "time": time,
            "requirements": requirements,
        }
        each = {name: values_of(name, value) for name, value in asked.items() if is_for_each(value)}
        entries: dict[str, Any] = {}
        for name, given in {"custom": custom, "submit": submit, "sbatch": sbatch}.items():
            entries[name], own = read_entries(name, given or {}, option_names(), is_for_each=is_for_each)
            each.update(own)
        asked.update((name, _USUAL.get(name)) for name in each if name in asked)
        if profile is not None and not isinstance(profile, str):
            raise SettingsError(
                f"profile={profile!r} is no name of a site profile", hint='for example profile="chtc"'
            )
        switches = (switches,) if isinstance(switches, str) else tuple(switches)
        self.__attrs_init__(
            **{name: parse_request(name, value) for name, value in asked.items()},
            workers=None if workers is None else positive("workers", workers, 0),
            block_size=None if block_size is None else positive("block_size", block_size),
            retries=positive("retries", retries, 0),
            retry_memory=most_of("memory", retry_memory, asked["request_memory"]),
            retry_disk=most_of("disk", retry_disk, asked["request_disk"]),
            pilot=None if pilot is None else positive("pilot", pilot),
            max_idle=None if max_idle is None else positive("max_idle", max_idle),
            environment=environment,
            profile=profile,
            chirp=None if chirp is None else _check_switch("chirp", chirp),
            switches=switches,
            **entries,
            on_done=_check_command(on_done),
            memo=_check_switch("memo", memo),
            notification=_check_notification(notification),
            notify_user=_check_user(notify_user),
            input_files=paths(input_files),
            component_input_files=per_component(component_input_files),
            output_remaps=remaps(output_remaps),
            store=None if store is None else os.fspath(store),
            store_above=parse_size(store_above, "store_above"),
            own_folder=bool(own_folder),
            seed=None if seed is None else positive("seed", seed, 0),
            component_timeout=_time_limit(component_timeout),
        )
        object.__setattr__(self, "each", each)

    def as_dict(self) -> OptionsFacts:
        """Plain values for JSON. `from_dict` reads them. Environment and files of components are left out."""
        plain = {
            "environment": None,
            "switches": list(self.switches),
            "custom": dict(self.custom),
            "submit": dict(self.submit),
            "sbatch": dict(self.sbatch),
            "input_files": list(self.input_files),
            "component_input_files": None,
            "output_remaps": copied(self.output_remaps),
        }
        return cast("OptionsFacts", {**{name: getattr(self, name) for name in option_names()}, **plain})

    def merged(self, *later: Options) -> Options:
        """These options with those that `later` ones set, as new options: the later ones win.

        What `custom`, `submit` and `sbatch` hold is joined name by name, whatever the case of its letters,
        and `input_files` are those of all. `requirements` are joined to one expression that holds where all
        of them do; None drops those before it. Options that nobody has set are left as they are.

        >>> usual = Options(request_memory="1GB", requirements="HasX", custom={"Project": "physics"})
        >>> both = usual.merged(Options(request_cpus=2, requirements="HasY", custom={"WantGPULab": True}))
        >>> both.requirements, both.request_memory >> 20, sorted(both.custom)
        ('(HasX) && (HasY)', 1024, ['Project', 'WantGPULab'])
        """
        joined = {name: getattr(self, name) for name in self.given}
        each: dict[str, Any] = dict(self.each)
        expressions = [self.requirements]
        for options in later:
            for name in options.given:
                value = getattr(options, name)
                if name == "requirements" and name not in options.each:
                    expressions = [*expressions, value] if value is not None else []
                    each = each if value is not None else {**each, name: None}
                elif name == "requirements":
                    expressions.append(value)  # of all components; those of each one are joined to it later
                elif name in _JOINED and name in joined:
                    value = _JOINED[name](joined[name], value)
                else:
                    each.pop(name, None)
                joined[name] = all_of(*expressions) if name == "requirements" else value
            each = merged_entries(joined, each, options.as_dict(), options.each)
            each.update(options.each)
        new = Options(**joined)
        object.__setattr__(new, "each", {name: values for name, values in each.items() if values is not None})
        return new

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Options:
        """The options of `as_dict`, whose sizes are bytes.

        >>> Options.from_dict(Options(request_memory="2GB").as_dict()).request_memory
        2147483648
        """
        sizes = {
            name: Size(plain[name])
            for name in ("request_memory", "request_disk", "retry_memory", "retry_disk", "store_above")
            if plain.get(name) is not None
        }
        return cls(**{**plain, **sizes})


def option_names() -> list[str]:
    """What options there are."""
    return [field.name for field in attrs.fields(Options) if field.init]


def _by_name(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Both, name by name, whatever the case of its letters; the later ones win."""
    again = {name.lower() for name in later}
    return {**{name: value for name, value in earlier.items() if name.lower() not in again}, **later}


#: Options that a later layer replaces only in part.
_JOINED: dict[str, Callable[[Any, Any], Any]] = {
    "custom": _by_name,
    "submit": _by_name,
    "sbatch": _by_name,
    "output_remaps": joined_remaps,
    "input_files": lambda earlier, later: tuple(dict.fromkeys((*earlier, *later))),
}


def _check_switch(what: str, value: Any) -> bool:
    switches = {"true": True, "false": False}  # a variable of the environment holds text
    value = switches.get(value.lower(), value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise SettingsError(f"{what}={value!r} is neither True nor False", hint=f"write {what}=True")
    return value


def _time_limit(value: float | str | datetime.timedelta | None) -> float | None:
    """Seconds of ``component_timeout``."""
    seconds = value.total_seconds() if isinstance(value, datetime.timedelta) else value
    if isinstance(seconds, float):
        if not 0 < seconds < float("inf"):
            raise SettingsError(f"component_timeout = {value!r} is no time", hint='write "90 min" or seconds')
        return seconds
    return parse_duration(seconds, "component_timeout")


#: When HTCondor mails (condor_submit, notification).
_NOTIFICATIONS = ("never", "complete", "error", "always")


def _check_notification(notification: str) -> str:
    low = notification.lower() if isinstance(notification, str) else None
    if low not in _NOTIFICATIONS:
        raise SettingsError(
            f"notification={notification!r} is none of {', '.join(_NOTIFICATIONS)}",
            hint='notification="complete", or on_done="…" for a command of yours',
        )
    return str(low)


def _check_user(notify_user: str | None) -> str | None:
    if notify_user is not None and (
        not isinstance(notify_user, str) or not re.fullmatch(r"[\w.+%-]+(@[\w.-]+)?", notify_user, re.ASCII)
    ):
        raise SettingsError(
            f"notify_user={notify_user!r} is no address of mail", hint='notify_user="me@example.org"'
        )
    return notify_user


def _check_command(on_done: str | None) -> str | None:
    if on_done is not None and (not isinstance(on_done, str) or not on_done.strip() or "\0" in on_done):
        raise SettingsError(
            f"on_done={on_done!r} is no shell command",
            hint="""for example on_done='mail -s "$WINGSPAN_TAG $WINGSPAN_STATE" me </dev/null'""",
        )
    return on_done


def _unknown(name: str) -> UnknownOption:
    if name.lower() in RESERVED:
        return UnknownOption(f"the option {name!r} is set by Wingspan itself", hint="leave it out")
    known = option_names()
    hint = hint_for_option(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name), known)
    return UnknownOption(f"there is no option {name!r}", hint=hint or f"known options: {', '.join(known)}")


def default_options(settings: Settings) -> Options:
    """The default options: of the configuration file, of environment variables, and of
    `wingspan.configure`.

    Raises:
        SettingsError: One of them is wrong; the message says where it is set.
    """
    try:
        return Options(**settings.options)
    except SettingsError as error:
        place, told = f"{settings.config_file}, [options]", error
        for name, (value, origin) in origins().items():
            option = name.removeprefix("options.")
            if option == name or origin == str(settings.config_file):
                continue
            try:
                Options(**{option: value})
            except SettingsError as wrong:
                place, told = origin, wrong
        raise type(told)(f"{place}: {told.message}", hint=told.hint) from None
