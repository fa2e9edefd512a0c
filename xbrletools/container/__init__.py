"""The QEVM container around RAM: boundaries of sections, commands, CONFIGURATION, devices, disks and their fields."""
