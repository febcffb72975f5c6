"""The shell that runs a pure core: sockets, timers, disk, control socket, logs."""
