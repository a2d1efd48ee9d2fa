"""Count what a worker asks of its access point."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Tuple


class Counting(object):
    """A transport that counts what is asked of another.

    Attributes:
        claims, appends: These grow with the work.
        looks: How often it was asked whether what runs is still wanted.
        others: All else, as ``(operation, path)``: listings, reads, times, files created and removed.
        written, read_bytes: Bytes of file contents that went each way.

    Args:
        transport: Answers.
        in_order: Sort what is listed. File systems list names in any order, and workers choose by it.
    """

    def __init__(self, transport: "Any", in_order: "bool" = False) -> "None":
        self.transport = transport
        self.in_order = in_order
        self.name, self.flush_seconds = transport.name, transport.flush_seconds
        self.folder = getattr(transport, "folder", "")
        self.claims = self.appends = self.looks = self.written = self.read_bytes = 0
        self.others: "List[Tuple[str, str]]" = []

    @property
    def can_link(self) -> "bool":
        return bool(self.transport.can_link)

    def __getattr__(self, name: "str") -> "Callable[..., Any]":
        method: "Callable[..., Any]" = getattr(self.transport, name)
        if name == "close":
            return method

        def counted(path: "str", *arguments: "Any", **named: "Any") -> "Any":
            if name == "append":
                self.appends += 1
            elif "/claims/" in (
                arguments[0] if name == "link" else path if name == "create_exclusively" else ""
            ):
                self.claims += 1
            elif (name, path) == ("modified", "rounds"):
                self.looks += 1
            else:
                self.others.append((name, path))
            if name in ("append", "create_exclusively", "write_whole"):
                self.written += sum(map(len, arguments))
            answer = method(path, *arguments, **named)
            if name == "read":
                self.read_bytes += len(answer)
            return sorted(answer) if self.in_order and name == "names" else answer

        return counted

    def counts(self) -> "Dict[str, int]":
        """What was counted, for a record."""
        return {
            "claims": self.claims,
            "appends": self.appends,
            "looks": self.looks,
            "others": len(self.others),
            "written": self.written,
            "read": self.read_bytes,
        }
