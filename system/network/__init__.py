"""Roles in different processes: a gRPC server for many devices, and the wire on which a device reaches it."""
