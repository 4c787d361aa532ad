"""The machine around the program: board, files, memory, ports, systemd."""
