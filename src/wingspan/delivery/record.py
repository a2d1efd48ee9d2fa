"""What is known of the environment of jobs. ``map.json`` and ``run.json`` hold it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import attrs

from wingspan.errors import WingspanError

if TYPE_CHECKING:
    from wingspan.environments.bundles import Bundle
    from wingspan.environments.bundles.manifest import DeltaFacts, ManifestFacts
    from wingspan.environments.bundles.own.layer import LayerFacts
    from wingspan.environments.needs import NeedsFacts

__all__ = ["Delivery", "DeliveryFacts"]

_HINT = "wingspan env bundle builds it again from the same lock"


class DeliveryFacts(TypedDict, total=False):
    """`Delivery` as ``map.json`` and ``run.json`` have it; a file of another version may lack keys, or have
    more.
    """

    workspace: str
    name: str
    platform: str
    digest: str | None
    python: str | None
    kind: str | None
    kind_reason: str
    bundle: str | None
    bundle_sha256: str | None
    bundle_bytes: int | None
    cache: str | None
    manifest: ManifestFacts | None
    source: str | None
    source_requirements: str | None
    source_warning: str | None
    warnings: list[str]
    machine_requirements: str | None
    layers: list[LayerFacts]
    delta: DeltaFacts | None
    needs: NeedsFacts


@attrs.frozen(kw_only=True)
class Delivery:
    """A locked environment, and how it gets into the jobs of a map or run.

    Attributes:
        workspace, name, platform: Which environment, as Pixi names it.
        digest: Identity of its package set; None where a foreign bundle does not say.
        python: Its Python, ``"3.12"``; None where it has none.
        kind, kind_reason: Kind of bundle, and why that one.
        bundle: Name of the bundle's file, which lies in the folder of the map or run; None: none was built,
            an image has it.
        bundle_sha256: Its SHA-256, 64 hex digits.
        bundle_bytes: Its size.
        cache: Where it was built or found.
        manifest: What it says of itself; None for one that somebody else made.
        source: Where machines fetch it; None: the scheduler sends it, or they see this machine's files.
        source_requirements: Requirements on machines that read `source`: a ClassAd expression.
        source_warning: What the site will not like about the way, where no better one is open.
        machine_requirements: Requirements on machines that execute its programs: a ClassAd expression.
        layers: Thin layers that lie beside the bundle: name of the file, ``sha256``, ``size``, ``what`` is in
            it, and the path in the cache.
        delta: What the scheduler sends instead of the bundle: its difference to another one (`Delta`), which
            machines fetch from `source`. None: they get the bundle.
        needs: What a machine must have (`Needs.to_json`).
        warnings: What a person should know, one sentence each.
    """

    workspace: str
    name: str
    platform: str
    digest: str | None = None
    python: str | None = None
    kind: str | None = None
    kind_reason: str = ""
    bundle: str | None = None
    bundle_sha256: str | None = None
    bundle_bytes: int | None = None
    cache: str | None = None
    manifest: ManifestFacts | None = None
    source: str | None = None
    source_requirements: str | None = None
    source_warning: str | None = None
    warnings: tuple[str, ...] = ()
    machine_requirements: str | None = None
    layers: tuple[LayerFacts, ...] = ()
    delta: DeltaFacts | None = None
    needs: NeedsFacts = attrs.field(factory=lambda: cast("NeedsFacts", {}))

    def to_json(self) -> DeliveryFacts:
        """For ``map.json`` and ``run.json``."""
        plain = {
            **attrs.asdict(self),
            "warnings": list(self.warnings),
            "layers": list(map(dict, self.layers)),
        }
        return cast("DeliveryFacts", plain)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Delivery:
        """The inverse of `to_json`; it also reads what older versions wrote.

        Their ``map.json`` had no manifest, and their ``run.json`` had the bundle as a table. Fields of later
        versions are ignored.
        """
        if isinstance(plain.get("bundle"), Mapping):
            plain = {**plain, **_of_table(plain["bundle"])}
        known = {field.name: plain[field.name] for field in attrs.fields(cls) if field.name in plain}
        several = {name: tuple(plain.get(name) or ()) for name in ("warnings", "layers")}
        return cls(**{**known, **several})

    def locate(self, folder: Path, damaged: type[WingspanError], of: str) -> Bundle:
        """The bundle, in `folder` or in the cache.

        Its digest is not checked here: the starter does that on the execution point, before anything in it
        runs.

        Args:
            folder: That of the map or run.
            damaged: The error to raise.
            of: What was made with it, for the message: ``"the map 'x'"``.

        Raises:
            damaged: It is in neither place, or is cut, or is another one.
        """
        problem = None
        for path in self._places(folder):
            found = self._at(path)
            if not isinstance(found, str):
                return self._with_companions(found, folder, damaged, of)
            problem = problem or found or None
        raise damaged(
            problem or f"the bundle {self.bundle} of {of} is neither in {folder} nor in the cache", hint=_HINT
        )

    def _with_companions(self, bundle: Bundle, folder: Path, damaged: type[WingspanError], of: str) -> Bundle:
        """`bundle`, with the files that go along with it, in `folder` or in the cache.

        The worker checks their digests.
        """
        from wingspan.environments.bundles.manifest import Delta
        from wingspan.environments.bundles.own.layer import Layer

        def there(facts: Mapping[str, Any]) -> dict[str, Any]:
            kept = Path(str(facts["path"]))
            for path in (folder / kept.name, kept):
                with contextlib.suppress(OSError):
                    if path.stat().st_size == facts["size"]:
                        return {**facts, "path": path}
            raise damaged(
                f"{kept.name}, which goes along with the bundle of {of}, is neither in {folder} nor in the cache",
                hint="make it again from the workspace",
            )

        layers = tuple(Layer(**there(one)) for one in self.layers)
        return attrs.evolve(bundle, layers=layers, delta=Delta(**there(self.delta)) if self.delta else None)

    def _places(self, folder: Path) -> Iterator[Path]:
        if self.bundle is not None:
            yield folder / self.bundle
        if self.cache is not None:
            yield Path(self.cache)

    def _at(self, path: Path) -> Bundle | str:
        """The bundle at `path`, or what is wrong with the file; an empty text if there is none."""
        from wingspan.environments.bundles import Bundle, BundleError, Manifest, open_bundle
        from wingspan.environments.bundles.manifest import check_kind
        from wingspan.stores.errors import StoreError
        from wingspan.stores.names import SIDECAR_SUFFIX, ContentName, read_sidecar

        try:
            size = path.stat().st_size
        except OSError:
            return ""
        if size != self.bundle_bytes:
            return f"{path} is cut, or another file: it has {size:,} bytes instead of {self.bundle_bytes:,}"
        if self.manifest is None:  # an older map.json has none, nor has a pack that somebody else made
            try:
                opened = open_bundle(path)
            except BundleError as error:
                return error.message
            return opened if opened.sha256 == self.bundle_sha256 else f"{path} is another bundle"
        try:
            claimed = read_sidecar(path.with_name(path.name + SIDECAR_SUFFIX).read_bytes())
        except OSError:
            claimed = None
        if claimed not in (None, self.bundle_sha256):
            return f"{path} is another bundle: its SHA-256 begins with {str(claimed)[:8]}"
        try:
            name = ContentName.parse(path.name).name
        except StoreError:
            name = path.stem
        manifest = Manifest.from_facts(self.manifest)
        return Bundle(
            path=path,
            kind=check_kind(str(self.kind)),
            name=name,
            sha256=str(self.bundle_sha256),
            size=size,
            environment_digest=manifest.environment_digest,
            prefix=manifest.prefix,
            manifest=manifest,
        )


def _of_table(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """What ``run.json`` said of its bundle before there was `Delivery`, under today's names."""
    manifest = bundle.get("manifest")
    return {
        "digest": bundle["environment_digest"],
        "python": manifest["python"] if manifest else None,
        "kind": bundle["kind"],
        "bundle": Path(bundle["path"]).name,
        "bundle_sha256": bundle["sha256"],
        "bundle_bytes": bundle["size"],
        "cache": bundle["path"],
        "manifest": manifest,
    }
