"""Roles in different processes: a gRPC server for many devices, and the wire on which a device reaches it."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines tell users nothing, and break a log of JSON
