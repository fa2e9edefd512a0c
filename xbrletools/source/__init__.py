"""Where the bytes come from: files, pipes, compressed and wrapped captures, captures that are still being written."""
