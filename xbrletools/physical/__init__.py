"""Where RAM blocks lie in guest-physical memory, by what the stream shows of the machine."""
