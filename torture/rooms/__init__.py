"""One file a room; `torture.rooms.ROOMS` has them in the order in which they are tried."""
