"""``%load_ext wingspan``: the magics ``%%wingspan``, which makes a map of a cell, and ``%wingspan``."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from wingspan._words import notice
from wingspan.errors import SettingsError, WingspanError
from wingspan.maps import ComponentErrors, Map, TagExists, TagNotFound, load, load_maps, remove
from wingspan.maps import map as make_map
from wingspan.notebooks.cells import InvalidCell, cell_function, split_line

if TYPE_CHECKING:
    from wingspan.maps import Options

__all__ = ["WingspanMagics"]

_VALUES = ("as=", "tag=", "pool=", "options=", "workers=", "cpus=", "gpus=", "memory=", "environment=")
_SWITCHES = ("no-wait", "replace")
_WORDS = "%wingspan status [TAG], %wingspan pool"


@magics_class
class WingspanMagics(Magics):  # type: ignore[misc]
    """The magics."""

    @line_cell_magic  # type: ignore[untyped-decorator]
    def wingspan(self, line: str, cell: str | None = None) -> Any:
        """Make a map of a cell: its code runs on the pool, once for each input.

        ::

            %%wingspan x in range(100)
            import math
            math.sqrt(x)

        The first line says what the inputs are, and which name stands for one of them: ``a, b in pairs``,
        too; without a name, it is the only one in the cell that nothing gives a value. The result of a
        component is the value of the last line. What the cell assigns stays within it; what the notebook has
        defined can be used. The cell answers the map, when it is complete.

        Executed again, also after the kernel was restarted, the cell takes its map up again; if code or
        inputs have changed, it says what has. Interrupting it stops the waiting, not the map.

        Options, before the inputs::

            --as NAME          variable that gets the map
            --tag TAG          name of the map (default: made of the notebook's name and the cell's)
            --no-wait          answer the map at once
            --replace          the cell was changed on purpose: forget what it has computed before
            --pool KIND        personal, htcondor, slurm, local
            --workers N  --cpus N  --gpus N  --memory SIZE  --environment NAME
            --options NAME     a wingspan.Options, with everything else

        Beside it, ``%wingspan status [TAG]`` says how far maps are, and ``%wingspan pool`` which pool they
        get.
        """
        try:
            return self._command(line) if cell is None else self._map(line, cell)
        except WingspanError as error:
            raise UsageError(str(error)) from None

    def _command(self, line: str) -> Any:
        word, *rest = line.split() or ["status"]
        if word == "status" and len(rest) <= 1:
            found = load_maps(rest[0] if rest else None)
            if rest and not found:
                raise TagNotFound(f"no map has the tag {rest[0]!r}", hint="%wingspan status lists all maps")
            print("\n".join(str(one.status()) for one in found) or "There are no maps.")  # noqa: T201 - it is asked for
            return None
        if word == "pool" and not rest:
            from wingspan.pool import ensure

            return ensure()
        raise UsageError(f"%wingspan {line.strip()}: {_WORDS}; %%wingspan makes a map of a cell")

    def _map(self, line: str, cell: str) -> Map:
        given, rest = self._parsed(line)
        name = given.get("as")
        if name is not None and not name.isidentifier():
            raise SettingsError(f"--as {name}: that is no name of a variable", hint="--as results")
        target, expression = split_line(str(rest))
        shell: Any = self.shell
        filename = shell.compile.cache(f"%%wingspan {line}\n{cell}", 0)
        function = cell_function(cell, target, shell.user_ns, filename)
        inputs = self._value(expression)
        tag = given.get("tag") or self._own_tag(cell)
        made = self._make(
            function,
            inputs,
            tag=tag,
            pool=given.get("pool"),
            options=self._options(given),
            replace="replace" in given,
        )
        if name:
            shell.user_ns[name] = made
        if "no-wait" not in given:
            self._wait(made, name)
        return made

    def _parsed(self, line: str) -> tuple[Any, Any]:
        """The options in the cell's first line, and what follows them."""
        try:
            parsed: tuple[Any, Any] = self.parse_options(
                line, "", *_VALUES, *_SWITCHES, posix=False, strict=False, preserve_non_opts=True
            )
        except UsageError as error:
            reason = str(error).partition(" (allowed")[0]
            known = ", ".join(f"--{word.removesuffix('=')}" for word in (*_VALUES, *_SWITCHES))
            raise SettingsError(reason, hint=f"options are: {known}; %%wingspan? explains them") from None
        return parsed

    @staticmethod
    def _make(function: Any, inputs: Any, *, tag: str, replace: bool, **more: Any) -> Map:
        made: Map
        try:
            made = make_map(function, inputs, tag=tag, exist_ok=True, **more)
            return made
        except TagExists as error:
            if not replace:
                hint = "%%wingspan --replace … computes it anew and forgets the old results; --tag NAME keeps both"
                raise TagExists(error.message, hint=hint) from None
        # The old map goes when the new one is there: whatever happens in between, one of them is left.
        old = load(tag)
        aside = f"{tag[:100]}-before-{old.created:%Y%m%d%H%M%S}"
        old.retag(aside)
        try:
            made = make_map(function, inputs, tag=tag, **more)
        except BaseException:
            old.retag(tag)
            raise
        remove(aside, missing_ok=True)
        return made

    @staticmethod
    def _wait(made: Map, name: str | None) -> None:
        try:
            made.wait()
        except ComponentErrors as error:
            again = f"{name or 'm'}.rerun({name or 'm'}.errors) does them again"
            error.hint = f"wingspan errors {made.tag} shows them; " + (
                again if name else f"%%wingspan --as m … has the map in m, and {again}"
            )
            raise
        except KeyboardInterrupt:
            notice(
                f"The waiting was stopped; the map {made.tag} goes on. Run the cell again to wait for it, or load it by its tag."
            )

    def _options(self, given: Any) -> Options | None:
        """The options that were given; None: none were."""
        from wingspan.maps import Options

        named: dict[str, Any] = {}
        for word, field in (("workers", "workers"), ("cpus", "request_cpus"), ("gpus", "request_gpus")):
            if word in given:
                try:
                    named[field] = int(given[word])
                except ValueError:
                    raise SettingsError(
                        f"--{word} {given[word]}: that is no number", hint=f"--{word} 2"
                    ) from None
        if "memory" in given:
            named["request_memory"] = given["memory"]
        if "environment" in given:
            named["environment"] = given["environment"]
        if "options" in given:
            if named:
                raise SettingsError(
                    "--options gives all options, and others are given, too",
                    hint="leave the others out, or --options",
                )
            found = self._value(given["options"])
            if not isinstance(found, Options):
                raise SettingsError(f"{given['options']} is no wingspan.Options", hint="--options NAME")
            return found
        return Options(**named) if named else None

    def _value(self, expression: str) -> Any:
        """What an expression of the first line is in the notebook."""
        shell: Any = self.shell
        try:
            return shell.ev(expression)
        except NameError as error:
            raise InvalidCell(
                f"{expression}: {error}", hint="execute the cell first that gives it a value"
            ) from None

    def _own_tag(self, cell: str) -> str:
        """The tag of the map of this cell: the same when it is executed again, whatever has become of its
        code.

        Made of the notebook's name and of the cell's id, both of which Jupyter tells the kernel; elsewhere of
        the code.
        """
        shell: Any = self.shell
        try:
            cell_id = str(shell.get_parent()["metadata"]["cellId"])
        except (AttributeError, KeyError, TypeError):
            from hashlib import sha256

            cell_id = sha256(cell.encode()).hexdigest()
        notebook = PurePosixPath(os.environ.get("JPY_SESSION_NAME") or "notebook").stem
        words = (re.sub(r"[^A-Za-z0-9_]+", "-", word).strip("-") for word in (notebook[:60], cell_id[:12]))
        return "-".join(word or "cell" for word in words)
