"""What the screens are called, and where they are, so that none is imported before something is on the terminal."""

from typing import NamedTuple


class Named(NamedTuple):
    """A screen: the key that leads there, its mode, its title, that for a narrow terminal, and its help in a few words.

    ``module`` of this package has it as the class ``kind``.
    """

    key: str
    mode: str
    title: str
    short: str
    help: str
    module: str
    kind: str


OVERVIEW = Named("1", "overview", "Overview", "", "what the capture is and holds", "overview", "OverviewScreen")
RECORDS = Named("2", "records", "Records", "Rec", "every record, one line each", "records", "RecordsScreen")
PAGE = Named("3", "page", "Page", "", "a page's bytes, deltas and versions", "page", "PageScreen")
MAP = Named("4", "map", "Map", "", "a block's pages as a heat map", "map", "MapScreen")
FINDINGS = Named("5", "findings", "Findings", "Find", "what is wrong, and why", "findings", "FindingsScreen")
DEVICES = Named("6", "fields", "Devices", "Dev", "devices and records, field by field", "devices", "DevicesScreen")
SEARCH = Named("7", "search", "Search", "", "text and bytes in memory, and when", "search", "SearchScreen")
COMPARE = Named("8", "compare", "Compare", "A|B", "what differs between two moments", "compare", "CompareScreen")
HOT = Named("H", "hot", "Hottest pages", "", "what the guest kept writing", "hot", "HotScreen")

#: The screens, in the order in which the line at the foot names them.
SCREENS = (OVERVIEW, RECORDS, PAGE, MAP, FINDINGS, DEVICES, SEARCH, COMPARE)
FURTHER = (HOT,)  # with a key, and not named there
