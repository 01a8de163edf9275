"""The live stream: one reader of the bus, any number of clients, and the checks that a client passes."""
