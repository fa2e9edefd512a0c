"""The grammars of `formats` written down for other tools: Kaitai Struct, ImHex, and Lua for Wireshark.

`walk` goes over construct's declarations once and makes `shapes` of them, which each writer (`ksy`, `hexpat`, `lua`)
prints. `collection` says which grammars. `files` adds what is written by hand: the order in which a stream has its
parts. Those files lie in formats/exports/.
"""
