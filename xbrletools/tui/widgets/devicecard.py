"""What is known of a CPU: its registers, in columns, with a cursor on one of them, and what the CPU is doing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType

from ...analysis.cpus import Cpu
from ...analysis.locate import ADDRESS_MAX, PHYSICAL, VIRTUAL
from ...formats import core, paging
from ...formats.elf import Machine
from ..palette import Palette, style
from .lines import Line, Lines, fit

_X86 = (
    *("rip", "rflags", "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
    *("cr0", "cr2", "cr3", "cr4", "efer", "lstar", "fs_base", "gs_base", "kernel_gs_base", "cs"),
)
_SHORT = {"rflags": "rfl", "kernel_gs_base": "kgs", "fs_base": "fs", "gs_base": "gs"}
_NAME, _DIGITS = 8, 16  # cells


@dataclass(frozen=True, slots=True)
class Register:
    """A register of a CPU, with its value."""

    name: str
    value: int


def address_of(name: str, value: int) -> str:
    """The address in a register or field, as `locate` takes it: guest-physical in CR3, else virtual."""
    if name.removeprefix("env.") in ("cr3", "cr[3]"):
        return f"{PHYSICAL}:{value & paging.CR3_TABLE:#x}"
    return f"{VIRTUAL}:{value & ADDRESS_MAX:#x}"


def registers_of(cpu: Cpu) -> list[Register]:
    """The registers of a CPU, in the order in which they are shown."""
    names = _X86 if cpu.machine is Machine.X86_64 else tuple(cpu.registers)
    return [Register(name, cpu.registers[name]) for name in names if name in cpu.registers]


def doing(cpu: Cpu) -> str:
    """What a CPU is doing, as far as its registers tell."""
    if cpu.mode is None:
        return cpu.machine.name.lower()
    ring = f", ring {cpu.registers['cs'] & 3}" if cpu.registers["cr0"] & core.CR0_PROTECTED else ""
    return cpu.mode + ring


class DeviceCard(Lines):
    """The registers of a CPU."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "across(1)", "next register", show=False),
        Binding("left,h", "across(-1)", "previous register", show=False),
    ]

    def __init__(self, colours: Callable[[], Palette | None]) -> None:
        super().__init__(id="card")
        self._colours = colours
        self._registers: list[Register] = []
        self._doing = ""
        self.column = 0
        self.border_title = "Registers"

    def show(self, cpu: Cpu | None) -> None:
        """Show a CPU's registers, or none."""
        self._registers = registers_of(cpu) if cpu is not None else []
        self._doing = doing(cpu) if cpu is not None else ""
        with self.prevent(self.Moved):
            self.cursor = self.column = 0
        self.renew()

    @property
    def across(self) -> int:
        """Registers on a line."""
        return max(1, self.scrollable_content_region.width // (_NAME + _DIGITS + 2))

    @property
    def chosen(self) -> Register | None:
        """The register under the cursor."""
        place = self.cursor * self.across + self.column
        return self._registers[place] if place < len(self._registers) else None

    def count(self) -> int:
        """How many lines there are: registers, and what the CPU is doing."""
        return -(-len(self._registers) // self.across) + (1 if self._doing else 0)

    def draws_cursor(self, row: int) -> bool:
        """The cursor stands on one register, and `line` draws it."""
        return False

    def line(self, row: int, width: int) -> Line:
        """Some registers, or what the CPU is doing."""
        colours = self._colours()
        across = self.across
        some = self._registers[row * across : (row + 1) * across]
        if not some:
            return [(f" {self._doing}", "strong")]
        line: list[tuple[str, str | Style]] = []
        for column, register in enumerate(some):
            here = self.has_focus and row == self.cursor and column == self.column
            digits = f"{register.value:0{_DIGITS}x}"
            used = digits.lstrip("0")
            data = "" if colours is None else style(colours.text(colours.page))
            line.append((fit(_SHORT.get(register.name, register.name), _NAME - 1, right=True) + " ", "dim"))
            line.append(("0" * (len(digits) - len(used)), "reverse" if here else "dim"))
            line.append((used, "reverse" if here else data))
            line.append(("  ", ""))
        return line

    def watch_cursor(self, old: int, new: int) -> None:
        """Draw both lines anew."""
        super().watch_cursor(old, new)
        self.forget(old)
        self.forget(new)

    def action_across(self, step: int) -> None:
        """Go to another register of the line."""
        self.column = max(0, min(self.across - 1, self.column + step))
        self.forget(self.cursor)
