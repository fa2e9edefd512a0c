"""The messages of QEMU and libvirt that no rule has, each with where it was seen. `messages` finds them in lines.

[C]: a QEMU 7.2 to 11.1 printed it when it was given such a stream. Else it says which source has it. {} stands for what
varies.
"""

from dataclasses import dataclass

from .rules import Rule

SEEN = "[C]"


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its ``template``, what it means, what to do, and where it was seen. ``rule`` is its rule, if any."""

    template: str
    meaning: str
    to_do: str
    source: str = SEEN
    rule: Rule | None = None


_ABOVE = "Read the line before it, which says why."
_SAME_MACHINE = (
    "Start the destination as the source was: the same machine, devices and places. xbrle check S --on DESCRIPTION."
)
_CAPABILITY = "Switch the same capabilities on at both ends before the migration (migrate-set-capabilities)."
_CUT = "The connection or the recording ended early: look at the source's log. xbrle verify S says where."
_DAMAGED = "Bytes were damaged or lost on the way: xbrle verify S names the place and the cause."
OTHERS: tuple[Message, ...] = (
    # the head and CONFIGURATION
    Message("Not a migration stream", "The first four bytes are not QEVM.", "Look what comes first: xbrle info S."),
    Message(
        "Unsupported migration stream version",
        "The file version is not 3.",
        "Look at the first eight bytes. " + _DAMAGED,
    ),
    Message(
        "Configuration section missing",
        "The destination's machine asks for CONFIGURATION and the stream goes on with something else.",
        "Use the same machine at both ends, or -global migration.send-configuration=off at the destination.",
    ),
    Message(
        "Machine type received is '{}' and local is '{}'",
        "The source's machine is not the destination's. Aliases such as pc stand for another machine in each version.",
        "Start the destination with -machine and the name that was received.",
    ),
    Message(
        "Received TARGET_PAGE_BITS is {} but local is {}",
        "The two ends have other page sizes.",
        "Use the same CPU and machine at both ends.",
    ),
    Message(
        "Capability {} is {}, but received capability is {}",
        "A capability that changes the stream is on at one end alone.",
        _CAPABILITY,
    ),
    Message(
        "Failed to validate capabilities", "A capability that changes the stream is on at one end alone.", _CAPABILITY
    ),
    Message(
        "Received unknown capability {}",
        "The source has a capability switched on that the destination's version does not know.",
        "Switch it off at the source, or use a newer QEMU at the destination.",
    ),
    Message(
        "UUID received is {} and local is {}",
        "The capability validate-uuid is on, and the guests have other UUIDs.",
        "Start the destination with -uuid and the one that was received.",
        "QEMU 7.2, migration/savevm.c",
    ),
    Message(
        "UUID is received {}, but local uuid isn't set",
        "A warning: the source states its guest's UUID, and the destination was started without one.",
        "Nothing: the stream loads.",
        "QEMU 7.2, migration/savevm.c",
    ),
    # sections and devices
    Message(
        "Unknown savevm section or instance '{}' {}",
        "The stream has a device that the destination does not have, or not at this place.",
        _SAME_MACHINE,
    ),
    Message(
        "Unknown section or instance '{}' {}",
        "The stream has a device that the destination does not have, or not at this place.",
        _SAME_MACHINE,
    ),
    Message(
        "unsupported version {} for '{}' v{}",
        "The device's state is of a newer version than the destination knows.",
        "Use a QEMU at the destination that is not older than the source's, or an older machine at the source.",
    ),
    Message("error while loading state for instance {} of device '{}'", "This section could not be loaded.", _ABOVE),
    Message("error while loading state section id {}({})", "This section could not be loaded.", _ABOVE),
    Message(
        "Failed to load vmstate version_id: {}, ret: {}", "RAM, or another section without fields, failed.", _ABOVE
    ),
    Message(
        "load of migration failed: {}",
        "The destination gave up. What follows is the errno, and from 11.1 on why.",
        _ABOVE,
    ),
    Message(
        "{}: incoming version_id {} is too new for local version_id {}",
        "A part of a device's state is newer than the destination knows.",
        "Use a QEMU at the destination that is not older than the source's.",
    ),
    Message(
        "{}: incoming version_id {} is too old for local minimum version_id",
        "A part of a device's state is older than the destination still loads. With version 0, no START announced it.",
        "Use an older QEMU at the destination, or look for damage: xbrle verify S.",
    ),
    Message(
        "VM subsection '{}' in '{}' does not exist",
        "The source wrote a part of a device's state that the destination does not know.",
        "Switch off at the source what writes it, or use a newer QEMU at the destination.",
    ),
    Message(
        "Loading VM subsection '{}' in '{}' failed", "A subsection was found, and its content was refused.", _ABOVE
    ),
    Message(
        "post load hook failed for: {}, version_id: {}",
        "All was read, and the device does not take the values.",
        _ABOVE,
    ),
    Message("Failed to load {} state: stream error: {}", "The stream ends amid this device.", _CUT),
    Message(
        "Failed to load {}:{}",
        "A field of a device could not be loaded: the stream ends there, or its value is refused.",
        "Read the line before it. Without one the stream ends there: xbrle verify S.",
    ),
    Message(
        "Input validation failed: {}/{}",
        "A value that a device's state must have is not as the destination needs it.",
        _SAME_MACHINE,
        "QEMU 7.2, migration/vmstate.c",
    ),
    Message(
        "Bad config data: i={} read: {} device: {}",
        "A PCI device's configuration does not agree with the destination's device: another model, or other options.",
        "Compare the devices' options at both ends. Byte i names the register of PCI's configuration space.",
        "QEMU 7.2, hw/pci/pci.c",
    ),
    Message(
        "irq state {}: must be 0 or 1.",
        "A line of a PCI device's interrupt is neither low nor high. No sender writes that.",
        _DAMAGED,
        "QEMU 7.2, hw/pci/pci.c",
    ),
    Message(
        "Features {} unsupported. Allowed features: {}",
        "The guest uses features of a virtio device that the destination's device does not offer.",
        "Give the device the same options, and use the same machine version.",
        "QEMU 7.2, hw/virtio/virtio.c",
    ),
    Message(
        "VQ {} size {} < last_avail_idx {} - used_idx {}",
        "A virtio queue's indices contradict each other: the guest's memory is not what the device state goes with.",
        "RAM is wrong at the destination: xbrle verify S.",
        "QEMU 7.2, hw/virtio/virtio.c",
    ),
    Message(
        "Invalid number of virtqueues: {}",
        "A virtio device's state is damaged, or of another kind of device.",
        _DAMAGED,
        "QEMU 7.2, hw/virtio/virtio.c",
    ),
    Message(
        "Unable to read ID string for section {}", "A section's name is empty, or the stream ends in it.", _DAMAGED
    ),
    Message("Failed to read instance/version ID: {}", "The stream ends in a section's header.", _CUT),
    Message("Failed to read section ID: {}", "The stream ends in a section's header.", _CUT),
    Message("Failed to load section ID: stream error: {}", "The stream ends where a section must begin.", _CUT),
    Message("Read section footer failed: {}", "The stream ends where a section's footer must stand.", _CUT),
    Message(
        "Expected vmdescription section, but got {}",
        "No VM description follows the end. QEMU complains, and the guest is loaded all the same.",
        "Nothing, or start the destination with the machine option suppress-vmdesc=on as the source was.",
    ),
    # RAM
    Message(
        "Unknown combination of migration flags: {} (postcopy mode)",
        "After postcopy began, a record is neither a page nor a zero page.",
        _DAMAGED,
        "QEMU 7.2, migration/ram.c",
    ),
    Message("Getting RAM address failed", "The stream ends amid RAM.", _CUT),
    Message(
        "Found a zero page with value {}",
        "A dup page of another byte than 0, which old senders wrote and QEMU 8.2 and later refuse.",
        "Load it in a QEMU that is older than 8.2: xbrle verify S --receiver qemu-7.2.",
    ),
    Message(
        "Received an unexpected compressed page",
        "The source compresses pages, and the destination has the capability compress switched off.",
        "Switch compress on at the destination. QEMU 9.1 and later do not have it: xbrle transcode S -o T.",
    ),
    Message(
        "Unexpected RAM flags: {}",
        "The destination expects a mapped-ram file, and finds pages in the stream.",
        "Switch mapped-ram on at both ends or at none.",
        "QEMU 10.0, migration/ram.c",
    ),
    Message(
        "Invalid compressed data length: {}",
        "A compressed page claims more bytes than one can have.",
        _DAMAGED,
        "QEMU 7.2, migration/ram.c",
    ),
    Message(
        "decompress data failed",
        "A compressed page does not unpack: it is damaged, or its sender raced with the guest.",
        "xbrle verify S names the record.",
        "QEMU 7.2, migration/ram.c",
    ),
    Message(
        "block {} should not be migrated !",
        "The stream has pages of a block that the destination shares with the source.",
        _CAPABILITY,
        "QEMU 7.2, migration/ram.c",
    ),
    Message(
        "Mismatched GPAs for block {} {}!= {}",
        "With x-ignore-shared, a shared block lies at another address at the destination.",
        _SAME_MACHINE,
        "QEMU 7.2, migration/ram.c",
    ),
    Message(
        "Mismatched RAM page size {} (local) {} != {}",
        "For postcopy a block has other pages (hugepages) at the destination.",
        "Back the guest's memory with the same page size at both ends.",
        "QEMU 7.2, migration/ram.c",
    ),
    Message(
        "Length mismatch: {}: {} in != {}",
        "A RAM block has another length at the destination. Newer versions say: Size mismatch.",
        _SAME_MACHINE,
        "QEMU before 6.0, exec.c",
    ),
    # commands
    Message(
        "MIG_CMD {} deprecated (len {})",
        "The source uses a command that QEMU 11.1 gave up (COLO).",
        "Use an older QEMU at the destination.",
    ),
    Message(
        "CMD_OPEN_RETURN_PATH called when RP already open", "The command came twice. The load goes on.", "Nothing."
    ),
    Message(
        "RAM postcopy is disabled but have 16 byte advise",
        "The source may switch to postcopy, and the destination may not.",
        "Switch postcopy-ram on at the destination: --capability postcopy-ram.",
    ),
    Message(
        "RAM postcopy is enabled but have 0 byte advise",
        "The destination expects postcopy of RAM, and the source does not offer it.",
        _CAPABILITY,
        "QEMU 7.2, migration/savevm.c",
    ),
    Message("CMD_POSTCOPY_RAM_DISCARD invalid length ({})", "A list of pages to forget has the wrong size.", _DAMAGED),
    Message(
        "CMD_POSTCOPY_RAM_DISCARD invalid version ({})",
        "A list of pages to forget is damaged.",
        _DAMAGED,
        "QEMU 7.2, migration/savevm.c",
    ),
    Message(
        "CMD_PACKAGED: Buffer receive fail ret={} length={}", "The stream ends in the package of device states.", _CUT
    ),
    Message(
        "loadvm_postcopy_handle_resume: illegal resume received",
        "A command to resume postcopy, and no migration is paused. The load goes on.",
        "Nothing.",
    ),
    Message(
        "MSG_RP_RECV_BITMAP only used for recovery",
        "A command of a paused postcopy, and no migration is paused. The load goes on.",
        "Nothing.",
    ),
    Message(
        "ENABLE_COLO command come in migration stream, but {} capability is not set",
        "The source runs COLO, and the destination does not.",
        _CAPABILITY,
        "QEMU 10.0, migration/migration.c",
    ),
    Message("block '{}' not found", "A command asks for the pages of a block that is not there.", _SAME_MACHINE),
    Message("invalid payload length ({})", "A command that names a block has the wrong length.", _DAMAGED),
    Message("failed to read block name", "A command that names a block does not.", _DAMAGED),
    Message(
        "Postcopy needs matching RAM page sizes (s={} d={})",
        "The two ends back the guest's memory with other page sizes.",
        "Use the same page sizes, hugepages too, at both ends.",
        "QEMU 7.2, migration/savevm.c",
    ),
    Message(
        "Detected IO failure for postcopy. Migration paused.",
        "The connection broke while the guest ran at the destination.",
        "Repair the network, then migrate-recover, and migrate with resume. The guest's memory is at both ends.",
        "QEMU 7.2, migration/savevm.c",
    ),
    # channels
    Message(
        "multifd: received packet magic {} ",
        "A channel brings something else than packets: another channel, or one that is damaged.",
        "Give each channel of the migration, and none twice.",
        "QEMU 7.2, migration/multifd.c",
    ),
    Message(
        "multifd: received packet version {} ",
        "A channel's packets are of another version.",
        "Use the same version of QEMU at both ends.",
        "QEMU 7.2, migration/multifd.c",
    ),
    Message(
        "multifd: received uuid '{}' and expected uuid '{}' for channel {}",
        "A channel belongs to another guest.",
        "Connect the channels of one migration alone.",
        "QEMU 7.2, migration/multifd.c",
    ),
    Message(
        "multifd: unknown ram block {}",
        "A packet names a RAM block that the destination does not have.",
        _SAME_MACHINE,
        "QEMU 7.2, migration/multifd.c",
    ),
    Message(
        "multifd {}: flags received {} flags expected {}",
        "The source packs its pages by another method.",
        "Set multifd-compression alike at both ends.",
        "QEMU 7.2, migration/multifd.c",
    ),
    Message(
        "Extra incoming migration connection; ignoring",
        "More connections came than the destination expects: multifd or preempt is on at the source alone.",
        _CAPABILITY,
        "QEMU 11.1, its messages",
    ),
    # the source
    Message(
        "State blocked by non-migratable device '{}'",
        "A device of the guest cannot be migrated.",
        "Unplug it before the migration, and plug it in after it.",
        "QEMU 7.2, migration/savevm.c",
    ),
    Message(
        "Unable to write to socket: {}",
        "The source lost its connection. The destination's log says why it went.",
        "Read the destination's log.",
        "QEMU 7.2, io/channel-socket.c",
    ),
    Message(
        "Can't receive COLO message: {}",
        "The stream asks for COLO, and its source sends nothing more: the connection ended.",
        "Read the source's log; without COLO, migrate with x-colo off.",
        "QEMU 7.2, migration/colo.c",
    ),
    # QEMU of 2011, and the posted patch
    Message(
        "error while loading state section id {}", "This section could not be loaded.", _ABOVE, "QEMU of 2011, savevm.c"
    ),
    Message(
        "Failed to load XBRLE page - wrong compression!",
        "A delta's header lacks flag 0x1.",
        _DAMAGED,
        "the posted patch",
    ),
    Message(
        "Failed to load XBRLE page - len overflow!",
        "A delta claims more bytes than a page has.",
        _DAMAGED,
        "the posted patch",
    ),
    Message(
        "Failed to load XBRLE page - decode error!",
        "A delta comes to more than a page.",
        _DAMAGED,
        "the posted patch",
    ),
    Message(
        "Failed to load XBRLE page - size {} expected {}!",
        "A delta comes to another size than a page has.",
        _DAMAGED,
        "the posted patch",
    ),
    Message(
        "Failed to load XBRLE page - bad checksum!",
        "The debug build found a page whose sum is not the stated one: a stale base, or damage.",
        "xbrle verify S --receiver debug names the record, xbrle verify S the cause.",
        "the posted patch",
    ),
    Message(
        "Failed to convert RAM address to host",
        "A record names a block or a page that the destination does not have, and the program aborts.",
        _DAMAGED,
        "the posted patch",
    ),
    # libvirt
    Message(
        "unexpectedly closed the monitor",
        "libvirt: the destination's QEMU has ended. Its own message follows, or stands in its log.",
        "Read /var/log/libvirt/qemu/GUEST.log at the destination: xbrle why LOG S.",
        "libvirt, src/qemu/qemu_process.c",
    ),
    Message(
        "migration out job: unexpectedly failed",
        "libvirt at the source: QEMU's migration failed, mostly since the destination gave up.",
        "Read the destination's log: xbrle why LOG S.",
        "libvirt, src/qemu/qemu_migration.c",
    ),
    Message(
        "migration job: unexpectedly failed",
        "libvirt at the source: QEMU's migration failed, mostly since the destination gave up.",
        "Read the destination's log: xbrle why LOG S.",
        "libvirt, src/qemu/qemu_migration.c",
    ),
    Message(
        "canceled by client",
        "libvirt: somebody cancelled the migration, or a time limit did.",
        "Look who: a limit on time or downtime. whatif and simulate say what would have converged.",
        "libvirt, src/qemu/qemu_migration.c",
    ),
    Message(
        "guest CPU doesn't match specification",
        "libvirt: the destination's host lacks features of the guest's CPU, or adds some.",
        "Use a CPU model that both hosts have (virsh hypervisor-cpu-baseline).",
        "libvirt, src/cpu and src/qemu/qemu_process.c",
    ),
    Message(
        "Migration without shared storage is unsafe",
        "libvirt: a disk lies on storage of the source alone, with a cache mode that is not safe for a migration.",
        "Use shared storage or cache=none, copy the storage (--copy-storage-all), or --unsafe.",
        "libvirt, src/qemu/qemu_migration.c",
    ),
    Message(
        "cannot acquire state change lock",
        "libvirt: another operation on this guest holds its lock, often a migration that hangs.",
        "Look at it: virsh domjobinfo GUEST. End it: virsh domjobabort GUEST.",
        "libvirt, src/conf/virdomainjob.c",
    ),
)
