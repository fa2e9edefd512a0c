"""Guest memory made of records: at any moment, page by page, with what is in doubt and of what a checksum holds."""
